//! Reading pictures as a browser would.

#[derive(Debug)]
pub(super) struct Text {
    pub(super) x: (f64, f64),
    pub(super) y: (f64, f64),
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) texts: Vec<Text>,
    /// Of NFs, ports and ends: left, top, right, bottom.
    pub(super) boxes: Vec<[f64; 4]>,
    pub(super) titles: Vec<String>,
}

/// Reads a picture as a browser would, and refuses elements and attributes that it must not have.
pub(super) fn svg_of(text: &str) -> Page {
    let document = roxmltree::Document::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| {
        node.attribute(name).unwrap_or("0").parse::<f64>().unwrap()
    };
    let root = document.root_element();
    let mut page = Page {
        width: number(&root, "width"),
        height: number(&root, "height"),
        texts: vec![],
        boxes: vec![],
        titles: vec![],
    };
    for node in root.descendants().filter(roxmltree::Node::is_element) {
        let name = node.tag_name().name();
        assert!(
            ["svg", "style", "rect", "g", "title", "text", "path"].contains(&name),
            "<{name}>"
        );
        assert!(
            node.attributes()
                .all(|a| !a.name().starts_with("on") && a.name() != "href")
        );
        let content = node.text().unwrap_or_default().to_owned();
        let class = node.attribute("class").unwrap_or_default();
        match name {
            "title" => page.titles.push(content),
            "text" => {
                let size = if class == "title" {
                    18.0
                } else if class.starts_with("name") {
                    13.0
                } else {
                    11.0
                };
                let (width, x, y) = (
                    content.chars().count() as f64 * 0.6 * size,
                    number(&node, "x"),
                    number(&node, "y"),
                );
                let left = match node.attribute("text-anchor") {
                    Some("middle") => x - width / 2.0,
                    Some("end") => x - width,
                    _ => x,
                };
                page.texts.push(Text {
                    x: (left, left + width),
                    y: (y - 0.7 * size, y),
                    text: content,
                });
            }
            "rect" if ["nf", "port", "end"].contains(&class) && number(&node, "height") >= 36.0 => {
                let (x, y) = (number(&node, "x"), number(&node, "y"));
                page.boxes
                    .push([x, y, x + number(&node, "width"), y + number(&node, "height")]);
            }
            _ => {}
        }
    }
    page
}

/// Nothing is cut off by the page's edge, no text covers another, and no box another but the one behind a shared NF.
pub(super) fn sound(page: &Page) {
    for t in &page.texts {
        assert!(
            t.x.0 >= 0.0 && t.x.1 <= page.width && t.y.0 >= 0.0 && t.y.1 <= page.height,
            "cut off: {t:?}"
        );
    }
    for (n, a) in page.texts.iter().enumerate() {
        for b in &page.texts[n + 1..] {
            let apart = a.x.1 <= b.x.0 || b.x.1 <= a.x.0 || a.y.1 <= b.y.0 || b.y.1 <= a.y.0;
            assert!(apart, "over each other: {a:?} {b:?}");
        }
    }
    let boxes: Vec<&[f64; 4]> = page.boxes.iter().filter(|b| b[2] - b[0] > 10.0).collect();
    for (n, a) in boxes.iter().enumerate() {
        for b in &boxes[n + 1..] {
            let behind = a[0] - b[0] == 4.0 && a[1] - b[1] == 4.0;
            let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
            assert!(apart || behind, "boxes over each other: {a:?} {b:?}");
        }
    }
}
