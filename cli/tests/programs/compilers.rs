//! gcc compiles and links, and the result runs.

use crate::harness::{Case, installed};

#[test]
fn gcc_compiles_links_and_the_result_runs() {
    if !installed("gcc") {
        return;
    }
    let script = r#"cat > a.c <<'END'
#include <stdio.h>
#include <stdlib.h>
int f(int);
int main(int argc, char **argv) { int *p = malloc(1 << 20); p[7] = f(argc); printf("%d %s\n", p[7], argv[1]); return p[7] - 5; }
END
echo 'int f(int n) { return n + 5; }' > b.c
gcc -O2 -c a.c && gcc -O2 -c b.c && gcc -o ab a.o b.o && ./ab hello; echo $?
gcc -static -o s a.o b.o && ./s static; echo $?
gcc -c /dev/null/nothing.c 2>/dev/null; echo $?"#;
    Case::shell(script).seconds(240).same();
}
