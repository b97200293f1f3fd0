//! The shared library's name for programs that are linked with it: it changes with the version of the interface.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libonvm_nf.so.1");
}
