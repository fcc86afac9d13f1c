//! What `scripts/guests.sh` asks for.

use anyhow::{Result, bail};
use berth_dist::{Toolchain, faults, guests, root, toolchains, write};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    match *arguments {
        ["list"] => {
            for guest in guests(&root)? {
                println!("{} {} {}", guest.package, guest.artifact(), guest.component().display());
            }
        }
        ["write", rustc, std] => write(&root, &toolchain(rustc, std))?,
        ["same-toolchain", rustc, std] => {
            if toolchains(&root)?.iter().any(|recorded| *recorded != toolchain(rustc, std)) {
                std::process::exit(1);
            }
        }
        ["check"] => {
            let faults = faults(&root)?;
            if !faults.is_empty() {
                bail!("{}; run scripts/guests.sh build", faults.join("; "));
            }
        }
        _ => bail!("usage: list | write RUSTC STD | same-toolchain RUSTC STD | check"),
    }
    Ok(())
}

fn toolchain(rustc: &str, std: &str) -> Toolchain {
    Toolchain { rustc: rustc.to_owned(), std: std.to_owned() }
}
