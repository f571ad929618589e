//! The gateway embeds `web/dist`. Without it there is an empty folder, and a release refuses to start: `make web` builds it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=web/dist");
    println!("cargo:rerun-if-env-changed=PARLEY_COMMIT");
    if let Err(error) = std::fs::create_dir_all("web/dist") {
        println!("cargo:warning=cannot make the folder web/dist: {error}");
    }
}
