//! Which manager a command is for.

use std::path::Path;

use onvm_api::{CONTROL_SOCKET, Client, client::managers, default_run_dir};
use onvm_bundle::Bundle;

use super::Failure;
use crate::args::RuntimeArgs;

/// How a command names its manager.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// By the name of its bundle; none: there is one only.
    Named(Option<&'a str>),
    /// By the source or bundle that is to run there.
    For(&'a Path),
}

/// The manager that is meant: the socket that was named, the one with that name, or the only one.
pub(crate) fn find(args: &RuntimeArgs, wanted: Wanted<'_>) -> Result<Client, Failure> {
    if let Some(socket) = &args.socket {
        return Ok(Client::new(socket));
    }
    let run_dir = args.run_dir.clone().unwrap_or_else(default_run_dir);
    let Some(names) = managers(&run_dir)? else {
        return Err(Failure::None(run_dir));
    };
    let name = choose(&names, wanted).map_err(|why| match why {
        Unclear::NoneRuns => Failure::None(run_dir.clone()),
        Unclear::Unknown(name) => Failure::Unknown {
            name,
            names: names.clone(),
            run_dir: run_dir.clone(),
        },
        Unclear::Several => Failure::Several {
            names: names.clone(),
            how: match wanted {
                Wanted::Named(_) => "behind the command, as in `onvmc status NAME`",
                Wanted::For(_) => "with `--to NAME`",
            },
        },
        Unclear::Another { name, running } => Failure::Another {
            target: target(wanted).display().to_string(),
            command: with_option(std::env::args(), &running),
            name,
            running,
        },
    })?;
    Ok(Client::new(run_dir.join(name).join(CONTROL_SOCKET)))
}

/// Why no manager can be chosen.
#[derive(Debug, PartialEq, Eq)]
enum Unclear {
    NoneRuns,
    Unknown(String),
    Several,
    /// One runs, under another name than that of the file.
    Another {
        name: String,
        running: String,
    },
}

/// `running` are the names of all managers.
fn choose(running: &[String], wanted: Wanted<'_>) -> Result<String, Unclear> {
    let name = match wanted {
        Wanted::Named(name) => name.map(str::to_owned),
        Wanted::For(target) => name_of(target),
    };
    if let Some(name) = name.as_ref().filter(|name| running.contains(name)) {
        return Ok(name.clone());
    }
    match (running, wanted, name) {
        ([], ..) => Err(Unclear::NoneRuns),
        (_, Wanted::Named(Some(name)), _) => Err(Unclear::Unknown(name.to_owned())),
        ([only], Wanted::For(_), Some(name)) => Err(Unclear::Another {
            name,
            running: only.clone(),
        }),
        ([only], ..) => Ok(only.clone()),
        _ => Err(Unclear::Several),
    }
}

/// The name under which `onvm-run` would run it.
fn name_of(target: &Path) -> Option<String> {
    // One that is not there, or is not a bundle, is refused when it is read.
    if !target.exists() {
        return None;
    }
    let bundle = target.is_dir().then(|| Bundle::load(target).ok()).flatten();
    let stem = || target.file_stem().map(|s| s.to_string_lossy().into_owned());
    bundle.map(|bundle| bundle.index.name).or_else(stem)
}

fn target(wanted: Wanted<'_>) -> &Path {
    match wanted {
        Wanted::For(target) => target,
        Wanted::Named(_) => Path::new(""),
    }
}

/// The command line once more, as it is typed, for that manager.
fn with_option(mut typed: impl Iterator<Item = String>, name: &str) -> String {
    typed.next();
    let mut words: Vec<String> = typed.map(|word| quoted(&word)).collect();
    // Behind `--` there are no options.
    let at = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(at..at, ["--to".to_owned(), quoted(name)]);
    format!("onvmc {}", words.join(" "))
}

/// For a shell: as it is where that is safe, else in quotes.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(running: &[&str], wanted: Wanted<'_>) -> Result<String, Unclear> {
        let running: Vec<String> = running.iter().map(|&n| n.to_owned()).collect();
        choose(&running, wanted)
    }

    #[test]
    fn a_name_that_was_said_is_never_another_manager() {
        let edge = Wanted::Named(Some("edge"));
        assert_eq!(chosen(&["core", "edge"], edge).as_deref(), Ok("edge"));
        assert_eq!(chosen(&["core"], edge), Err(Unclear::Unknown("edge".into())));
        assert_eq!(chosen(&[], edge), Err(Unclear::NoneRuns));
        assert_eq!(chosen(&["core"], Wanted::Named(None)).as_deref(), Ok("core"));
        assert_eq!(
            chosen(&["core", "edge"], Wanted::Named(None)),
            Err(Unclear::Several)
        );
    }

    #[test]
    fn a_file_goes_to_the_manager_of_its_name_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.chain");
        std::fs::write(&path, "").unwrap();
        let file = Wanted::For(&path);
        assert_eq!(chosen(&["core", "edge"], file).as_deref(), Ok("edge"));
        assert_eq!(chosen(&["a", "b"], file), Err(Unclear::Several));
        assert_eq!(chosen(&[], file), Err(Unclear::NoneRuns));
        let another = Unclear::Another {
            name: "edge".into(),
            running: "core".into(),
        };
        assert_eq!(chosen(&["core"], file), Err(another));
        let missing = Wanted::For(Path::new("none/edge.chain"));
        assert_eq!(chosen(&["core"], missing).as_deref(), Ok("core"));
    }

    #[test]
    fn the_command_is_one_to_be_typed() {
        let typed = |words: &[&str]| with_option(words.iter().map(|&w| w.to_owned()), "edge");
        assert_eq!(
            typed(&["./onvmc", "apply", "b v2.chain", "--set", "a=it's"]),
            r"onvmc apply 'b v2.chain' --set 'a=it'\''s' --to edge"
        );
        assert_eq!(
            typed(&["onvmc", "apply", "--", "-v2"]),
            "onvmc apply --to edge -- -v2"
        );
    }
}
