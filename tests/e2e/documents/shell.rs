//! As much of the shell as is in the README files: which programs a line runs, with which words.

/// Words that stand before a command and are none.
const BEFORE: [&str; 8] = ["do", "then", "else", "if", "while", "!", "{", "sudo"];

/// The words of each command of a line: without comments, redirections, and assignments before it.
pub(super) fn commands(line: &str) -> Vec<Vec<String>> {
    let mut reader = Reader::default();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (reader.quote, c) {
            (Some('"') | None, '\\') => reader.push(chars.next().unwrap_or(' ')),
            (Some(quote), c) if quote == c => reader.quote = None,
            (Some(_), c) => reader.push(c),
            (None, '\'' | '"') => {
                reader.quote = Some(c);
                reader.word.get_or_insert_default();
            }
            (None, '#') if reader.word.is_none() => break,
            (None, '|' | '&' | ';' | '(' | ')') => reader.end_command(),
            (None, '<' | '>') => {
                // `2>`: the number belongs to the redirection.
                reader.word = reader.word.take().filter(|w| w.parse::<u8>().is_err());
                reader.end_word();
                reader.redirects = true;
            }
            (None, c) if c.is_whitespace() => reader.end_word(),
            (None, c) => reader.push(c),
        }
    }
    reader.end_command();
    reader.commands
}

#[derive(Default)]
struct Reader {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: Option<String>,
    quote: Option<char>,
    /// The next word is a file to read or to write.
    redirects: bool,
}

impl Reader {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if std::mem::take(&mut self.redirects) {
            return;
        }
        let first = self.words.is_empty();
        let assigns = word.split_once('=').is_some_and(|(name, _)| {
            let mut letters = name.chars();
            letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        if !first || !(assigns || BEFORE.contains(&word.as_str())) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirects = false;
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

#[test]
fn a_line_is_split_into_commands() {
    let of = |line: &str| {
        let commands = commands(line).into_iter();
        commands.map(|c| c.join("·")).collect::<Vec<_>>()
    };
    assert_eq!(
        of("A=b one 'two three' \"four\\\"\" # five"),
        ["one·two three·four\""]
    );
    assert_eq!(
        of("do one | two > file -x 2>log; done"),
        ["one", "two·-x", "done"]
    );
    assert_eq!(of("(cd x && y --z=1)"), ["cd·x", "y·--z=1"]);
    assert!(of("# nothing").is_empty());
}
