"""What the size check takes for a function, in each language."""

from sizes import functions

PYTHON = """\
async def one():
    pass


class Two:
    def three(
        self,
    ):
        return 3
"""
RUST = """\
pub(crate) fn one() -> u8 {
    if true {
        1
    }
}

impl Two {
    async fn three(
        &self,
    ) -> u8 {
        3
    }
}
"""
JAVASCRIPT = """\
export function one() {
  if (true) {
    return 1;
  }
}

class Two {
  async #three(four) {
    return 3;
  }
}
"""


def test_python() -> None:
    assert sorted(functions("py", PYTHON)) == [(1, 2), (6, 4)]


def test_rust() -> None:
    assert sorted(functions("rs", RUST)) == [(1, 5), (8, 5)]


def test_javascript() -> None:
    assert sorted(functions("js", JAVASCRIPT)) == [(1, 5), (8, 3)]
