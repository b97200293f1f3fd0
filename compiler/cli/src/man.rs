//! `onvmc man` and `onvmc completions`: generated from the definition of the command line.

use std::{fs, path::Path};

use clap::CommandFactory;

use super::{
    Outcome,
    args::{Cli, ManArgs},
    output::{Output, count},
};

pub(super) fn completions(out: &Output, shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "onvmc", &mut text);
    out.data(&String::from_utf8_lossy(&text));
    Outcome::Done
}

pub(super) fn run(out: &Output, args: &ManArgs) -> Outcome {
    let pages = match pages() {
        Ok(pages) => pages,
        Err(e) => {
            out.error(
                "internal",
                &format!("a manual page cannot be made: {e}. This is a fault of onvmc; please report it."),
            );
            return Outcome::Refused;
        }
    };
    let Some(dir) = &args.dir else {
        if let Some((_, text)) = pages.first() {
            out.data(&String::from_utf8_lossy(text));
        }
        return Outcome::Done;
    };
    match write(dir, &pages) {
        Err(e) => {
            let dir = dir.display();
            out.error(
                "write",
                &format!("{dir}: {e}. Check that the directory can be made and written."),
            );
            Outcome::Refused
        }
        Ok(()) if out.json => {
            let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
            out.data_json(&serde_json::json!({ "version": 1, "dir": dir.to_string_lossy(), "pages": names }));
            Outcome::Done
        }
        Ok(()) => {
            out.note(&format!(
                "{}: {}",
                dir.display(),
                count(pages.len(), "manual page")
            ));
            Outcome::Done
        }
    }
}

/// The pages of `onvmc` and of each of its commands, by file name; that of `onvmc` itself is the first.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    add(&root, &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    pages.push((page.get_filename(), text));
    command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .try_for_each(|c| add(c, pages))
}

fn write(dir: &Path, pages: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    pages
        .iter()
        .try_for_each(|(name, text)| fs::write(dir.join(name), text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The path of every command, as in `new chain`.
    fn commands(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        for c in command.get_subcommands() {
            let path = format!("{path}{}{}", if path.is_empty() { "" } else { "-" }, c.get_name());
            commands(c, &path, found);
            found.insert(path);
        }
    }

    #[test]
    fn every_command_has_a_page_and_says_what_it_is() {
        let mut expected = BTreeSet::from(["onvmc.1".to_owned()]);
        let mut found = BTreeSet::new();
        commands(&Cli::command(), "", &mut found);
        expected.extend(found.iter().map(|c| format!("onvmc-{c}.1")));
        let pages = pages().unwrap();
        assert_eq!(pages[0].0, "onvmc.1");
        assert_eq!(
            pages
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<BTreeSet<_>>(),
            expected
        );
        for (name, text) in pages {
            let text = String::from_utf8(text).unwrap();
            for section in [
                ".TH ",
                ".SH NAME",
                ".SH SYNOPSIS",
                ".SH DESCRIPTION",
                ".SH OPTIONS",
            ] {
                assert!(text.contains(section), "{name} has no {section}\n{text}");
            }
        }
    }

    #[test]
    fn completions_offer_every_command_and_its_options() {
        let mut root = Cli::command();
        root.build();
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "onvmc", &mut text);
            let text = String::from_utf8(text).unwrap();
            for command in root.get_subcommands() {
                assert!(
                    text.contains(command.get_name()),
                    "{shell}: no {}",
                    command.get_name()
                );
                for long in command.get_arguments().filter_map(|a| a.get_long()) {
                    assert!(
                        text.contains(long),
                        "{shell}: no --{long} of {}",
                        command.get_name()
                    );
                }
            }
        }
    }
}
