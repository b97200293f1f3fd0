//! Programs and secrets that NFs need.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Access, Check, Machine, Options, Subject, devices::quoted};

pub(super) fn all(machine: &dyn Machine, subject: Subject<'_>, options: &Options) -> Vec<Check> {
    let programs: BTreeSet<&str> = subject
        .instances
        .values()
        .map(|i| i.manifest.run.binary.as_str())
        .collect();
    let programs = programs.into_iter().map(|name| program(machine, name, options));
    let secrets = subject.secrets.iter().map(|name| secret(machine, name, options));
    programs.chain(secrets).collect()
}

fn program(machine: &dyn Machine, name: &str, options: &Options) -> Check {
    let check = format!("program {name}");
    // `onvm-run` looks in its own directory first.
    let own = machine
        .program("onvm-run", &[])
        .and_then(|p| Some(p.parent()?.to_path_buf()));
    let directories: Vec<PathBuf> = own.into_iter().chain(options.nf_path.iter().cloned()).collect();
    match machine.program(name, &directories) {
        Some(path) => Check::ok(check, path.display().to_string()),
        None if name == "onvm-nf" => Check::failed(
            check,
            "it is neither beside onvm-run nor in PATH",
            "make release && sudo make install",
        ),
        None => Check::failed(
            check,
            "it is neither beside onvm-run nor in PATH",
            format!(
                "sudo install {} /usr/local/bin/, or onvm-run --nf-path DIR",
                quoted(name)
            ),
        ),
    }
}

/// Whether a shell takes it as a variable's name.
fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn secret(machine: &dyn Machine, name: &str, options: &Options) -> Check {
    let check = format!("secret {name}");
    let file = options.secrets.as_ref().map(|dir| dir.join(name));
    if let Some(path) = file.as_ref().filter(|path| machine.exists(path)) {
        return match machine.may(path, Access::Read) {
            true => Check::ok(check, format!("in {}", path.display())),
            false => Check::failed(
                check,
                format!("{} cannot be read by this user", path.display()),
                format!("sudo chown \"$USER\" {}", quoted(&path.to_string_lossy())),
            ),
        };
    }
    match machine.variable(name) {
        Some(_) => Check::ok(check, "in the environment"),
        None => Check::failed(
            check,
            "it is in no file of --secrets and not in the environment",
            match is_variable(name) {
                true => format!("read -rs {name} && export {name}"),
                false => format!("onvm-run --secrets DIR, with the secret in DIR/{}", quoted(name)),
            },
        ),
    }
}
