//! SQLite and git.

use std::path::Path;

use crate::harness::{Case, installed};

const ROWS: &str = "create table t(a integer primary key, b text); \
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) \
insert into t select i, printf('%08d', i * 7919 % 20011) from n; \
create index b on t(b); select count(*), sum(a), min(b), max(b) from t; \
delete from t where a % 3 = 0; select count(*) from t; vacuum; pragma integrity_check;";

#[test]
fn sqlite_in_memory() {
    Case::new(&["sqlite3", ":memory:", ROWS]).same();
}

#[test]
fn sqlite_on_disk_with_a_log() {
    let script = format!("pragma journal_mode=wal; pragma synchronous=normal; {ROWS}");
    Case::new(&["sqlite3", "db", &script])
        .before_each(|folder| {
            for name in ["db", "db-wal", "db-shm"] {
                let _gone = std::fs::remove_file(folder.join(name));
            }
        })
        .same();
}

#[test]
fn git_makes_and_shows_a_history() {
    if !installed("git") {
        return;
    }
    let script = "rm -rf r; export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z \
GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=$PWD; \
git init -q r && cd r && for i in 1 2 3 4 5; do echo $i > f$i; git add . && git commit -qm \"change $i\"; done; \
git log --stat; git gc -q; git fsck; git diff HEAD~2; git log --oneline | cat";
    Case::shell(script).same();
}

#[test]
fn git_log_of_this_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    if root.join(".git").exists() {
        Case::new(&[
            "git",
            "-c",
            "safe.directory=*",
            "--no-pager",
            "log",
            "-n",
            "50",
            "--stat",
        ])
        .inside(root)
        .same();
    } else {
        println!("skipped: this is not a git repository (git clone it)");
    }
}
