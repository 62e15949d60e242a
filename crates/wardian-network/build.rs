//! Builds the filter (`bpf/`) with clang, for the kernel's own machine.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    let object = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("filter.o");
    // Where the distribution keeps <asm/types.h>.
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let built = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-Wall", "-Wextra", "-Werror"])
        .arg(format!("-I/usr/include/{arch}-linux-gnu"))
        .args(["-c", "bpf/filter.c", "-o"])
        .arg(&object)
        .output();
    let problem = match built {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("clang can't be run: {error}"),
    };
    let problem = problem.trim_end();
    panic!(
        "the packet filter in bpf/ was not built:\n{problem}\n\nIt needs the packages clang and libbpf-dev: `cargo xtask packages` installs them."
    );
}
