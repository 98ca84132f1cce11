//! Programs that read and write many or large files.

use std::path::Path;

use crate::data;
use crate::harness::{Case, build_c};

#[test]
fn cat_of_100_megabytes() {
    let file = data::noise(100);
    Case::new(&["cat", &file.to_string_lossy()]).same();
    Case::new(&["cat"]).stdin(&file).same();
}

#[test]
fn sha256sum_of_100_megabytes() {
    Case::new(&["sha256sum"]).stdin(&data::noise(100)).same();
}

#[test]
fn sockets_are_found_below_the_folder_that_one_is_in() {
    const PROGRAM: &str = "import os, socket\nos.mkdir('in')\nos.chdir('in')\n\
        server = socket.socket(socket.AF_UNIX)\nserver.bind('name')\nserver.listen()\n\
        print(os.listdir('.'), server.getsockname(), oct(os.stat('name').st_mode))\n\
        client = socket.socket(socket.AF_UNIX)\nclient.connect('../in/name')\n\
        other, _ = server.accept()\nprint(other.getsockname(), _)\n\
        client.sendall(b'hello')\nprint(other.recv(9))\n\
        os.umask(0o27)\nprivate = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        private.bind('private')\nprint(oct(os.stat('private').st_mode), private.getsockname())\n\
        os.unlink('private')\nos.unlink('name')\nos.chdir('..')\nos.rmdir('in')\n\
        try:\n  client.connect('in/name')\nexcept OSError as error: print(error)\n\
        nameless = socket.socket(socket.AF_UNIX)\nnameless.bind('\\0foliant' + str(os.getpid()))\nprint('bound')\n";
    if crate::harness::installed("python3") {
        Case::new(&["python3", "-c", PROGRAM]).same();
    }
}

#[test]
fn sort_with_little_memory() {
    Case::new(&["sort", "-S", "32M", "-T", ".", &data::lines(50).to_string_lossy()])
        .seconds(300)
        .same();
}

#[test]
fn xz_and_back() {
    if crate::harness::installed("xz") {
        let file = data::lines(4);
        let script = format!(
            "xz -9 -T1 -c {0} | sha256sum; xz -9 -T1 -c {0} | xz -dc | sha256sum",
            file.display()
        );
        Case::shell(&script).seconds(300).same();
    }
}

#[test]
fn tar_of_a_tree() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .join("crates");
    Case::new(&[
        "tar",
        "-c",
        "--sort=name",
        "-f",
        "-",
        "-C",
        &tree.to_string_lossy(),
        ".",
    ])
    .same();
    Case::shell(&format!("tar -cf all.tar -C {} . && mkdir out && tar -xf all.tar -C out && find out -type f | sort | xargs cat | sha256sum; rm -rf out all.tar", tree.display())).same();
}

#[test]
fn find_over_the_root() {
    Case::new(&[
        "find",
        "/",
        "-xdev",
        "-maxdepth",
        "3",
        "-not",
        "-path",
        "/tmp*",
        "-not",
        "-path",
        "/proc*",
    ])
    .same();
}

#[test]
fn grep_through_a_tree() {
    Case::shell("grep -r include /usr/include /usr/share/perl5 | sort | sha256sum").same();
}

#[test]
fn many_small_files() {
    Case::shell("for i in $(seq 200); do echo $i > f$i; done; cat f* | sort -n | tail -2; mv f1 g1; ln -s g1 l; cat l; ln g1 h; stat -c '%h %s %F' g1 l; rm f*; ls; rm -f g1 l h").same();
}

#[test]
fn what_can_be_spliced_and_copied_without_passing_through_the_program() {
    if let Some(program) = build_c("splice", &[]) {
        Case::new(&[&program.to_string_lossy()]).same();
    }
}
