//! The fenced blocks of a page.

/// One fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The first word after the opening fence.
    pub(crate) language: String,
    /// The line of the opening fence.
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// All blocks of a page, in order. A fence inside a longer fence is text.
pub(crate) fn all(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        let fence = line.len() - line.trim_start_matches('`').len();
        match &mut open {
            None if fence >= 3 => {
                let language =
                    line[fence..].split([' ', ',']).next().unwrap_or_default().to_owned();
                open = Some((fence, Block { language, line: number, text: String::new() }));
            }
            Some((length, _)) if fence >= *length && line.trim_matches('`').trim().is_empty() => {
                blocks.extend(open.take().map(|(_, block)| block));
            }
            Some((_, block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// The page without its fenced blocks, line by line with numbers.
pub(crate) fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut fence = 0;
    let mut prose = Vec::new();
    for (number, line) in (1..).zip(page.lines()) {
        let ticks = line.len() - line.trim_start_matches('`').len();
        if fence == 0 && ticks >= 3 {
            fence = ticks;
        } else if fence > 0 && ticks >= fence {
            fence = 0;
        } else if fence == 0 {
            prose.push((number, line));
        }
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "a\n```console\n$ true\n```\nb\n````text\n```\ninner\n````\nc\n";

    #[test]
    fn blocks_have_a_language_a_place_and_a_text() {
        let blocks = all(PAGE);
        assert_eq!(
            blocks[0],
            Block { language: "console".to_owned(), line: 2, text: "$ true\n".to_owned() }
        );
        assert_eq!((blocks[1].text.as_str(), blocks.len()), ("```\ninner\n", 2));
    }

    #[test]
    fn prose_is_what_lies_between() {
        assert_eq!(prose(PAGE), [(1, "a"), (5, "b"), (10, "c")]);
    }
}
