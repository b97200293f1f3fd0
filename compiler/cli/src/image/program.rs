//! The program that an image is made of.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use object::{
    Endianness, elf,
    read::elf::{Dyn, FileHeader, ProgramHeader},
};
use onvmc::doctor::Machine;

use super::Refusal;
use crate::machine::ThisMachine;

/// The program of the standard NFs.
pub(super) const STANDARD: &str = "onvm-nf";
/// A static program of a few MiB is usual; this one would not fit beside what handles it.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Its file name, which it keeps in the image.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// In the words of the OCI.
    pub(super) architecture: &'static str,
}

/// The named program, or the standard NFs' by the rule by which onvm-run finds it.
pub(super) fn find(given: Option<&Path>) -> Result<Program, Refusal> {
    let path = match given {
        Some(path) => path.to_path_buf(),
        None => ThisMachine.program(STANDARD, &[]).ok_or_else(|| {
            let text = "cannot find onvm-nf beside onvmc or in PATH. Install it (`make install`, or the package onvm), or name a program: --binary PROGRAM.";
            ("binary", text.to_owned())
        })?,
    };
    let shown = path.display();
    let bytes = read(&path).map_err(|e| ("binary", format!("cannot read {shown}: {e}")))?;
    let architecture = architecture(&bytes).map_err(|why| {
        let remedy = match given {
            None => "Install the static one: `make release && sudo make install`, or the package onvm.",
            Some(_) => "Build it by `cargo rustc --release -- -C target-feature=+crt-static`.",
        };
        ("binary", format!("{shown} {why}. {remedy}"))
    })?;
    let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
        (
            "binary",
            format!("the file name of {shown} is not UTF-8. Rename it."),
        )
    })?;
    Ok(Program {
        name: name.to_owned(),
        path,
        bytes,
        architecture,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let said = |e: std::io::Error| format!("{e}. Check that the file exists and can be read.");
    // Before it is opened: opening a pipe would wait for its writer.
    let length = match fs::metadata(path).map_err(said)? {
        m if !m.is_file() => return Err("it is not a file. Name an NF's program.".to_owned()),
        m if m.len() > MOST_BYTES => return Err("it is larger than 1 GiB. Name an NF's program.".to_owned()),
        m => m.len(),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(said)?;
    file.take(length).read_to_end(&mut bytes).map_err(said)?;
    Ok(bytes)
}

/// Of a program that needs no other file: in the image there is none. Otherwise the end of a sentence about it.
fn architecture(bytes: &[u8]) -> Result<&'static str, String> {
    let broken = |_| "is not a program for 64-bit Linux (ELF)".to_owned();
    let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    for segment in header.program_headers(endian, bytes).map_err(broken)? {
        let loader = segment.p_type(endian) == elf::PT_INTERP;
        let dynamic = segment
            .dynamic(endian, bytes)
            .map_err(broken)?
            .unwrap_or_default();
        if loader || dynamic.iter().any(|d| d.tag(endian) == elf::DT_NEEDED) {
            return Err("is linked dynamically, and its libraries would not be in the image".to_owned());
        }
    }
    match (header.e_type(endian), header.e_machine(endian)) {
        (elf::ET_EXEC | elf::ET_DYN, elf::EM_X86_64) => Ok("amd64"),
        (elf::ET_EXEC | elf::ET_DYN, elf::EM_AARCH64) => Ok("arm64"),
        _ => Err("is not a program for x86-64 or aarch64".to_owned()),
    }
}
