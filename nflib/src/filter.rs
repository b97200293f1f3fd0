//! STUB
pub use onvm_bundle::filter::Expr;
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);
#[derive(Debug)]
pub struct Rule {
    pub verdict: usize,
    pub name: String,
    pub filter: Expr,
}
impl Rules {
    pub fn parse(text: &str, verdicts: &[&str]) -> Result<Self, String> {
        let mut v = Vec::new();
        for l in text.lines() {
            let mut p = l.splitn(3, ' ');
            let (a, b, c) = (
                p.next().unwrap_or(""),
                p.next().unwrap_or(""),
                p.next().unwrap_or(""),
            );
            let verdict = verdicts.iter().position(|x| *x == a).ok_or("verdict")?;
            v.push(Rule {
                verdict,
                name: b.to_owned(),
                filter: c
                    .parse()
                    .map_err(|e: onvm_bundle::filter::ParseError| e.to_string())?,
            });
        }
        Ok(Self(v))
    }
    pub fn first(&mut self, d: &[u8], n: u32) -> Option<usize> {
        self.0.iter().position(|r| r.filter.matches(d, n))
    }
    pub fn get(&self, i: usize) -> Option<&Rule> {
        self.0.get(i)
    }
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }
}
impl crate::Params {
    pub fn optional_filter(&self, name: &str) -> Result<Option<Expr>, crate::ParamsError> {
        let t: Option<String> = self.optional(name)?;
        t.map(|t| {
            t.parse()
                .map_err(|e: onvm_bundle::filter::ParseError| crate::ParamsError::value(name, e))
        })
        .transpose()
    }
    pub fn optional_rules(&self, name: &str, verdicts: &[&str]) -> Result<Option<Rules>, crate::ParamsError> {
        if self.optional::<serde_json::Value>(name)?.is_none() {
            return Ok(None);
        }
        let t = String::from_utf8_lossy(self.file(name)?).into_owned();
        Rules::parse(&t, verdicts)
            .map(Some)
            .map_err(|e| crate::ParamsError::value(name, e))
    }
}
