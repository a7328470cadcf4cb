//! How the story is written: lines with the emulator's time; colours for people at a terminal,
//! plain lines for logs.

use std::io::{IsTerminal as _, Write as _};

use jiff::Timestamp;

/// Writes the story to standard output.
#[derive(Debug, Clone, Copy)]
pub struct Teller {
    colours: bool,
}

const DIM: &str = "2";
const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

impl Teller {
    /// Colours if standard output is a terminal and nobody said otherwise (<https://no-color.org>).
    pub fn on_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            colours: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// The title.
    pub fn title(self, text: &str) {
        self.write(&format!("\n{}", self.paint(BOLD, text)));
    }

    /// An act's title.
    pub fn act(self, number: u8, text: &str) {
        self.write(&format!(
            "\n{}  {}",
            self.paint(CYAN, &format!("Act {number}")),
            self.paint(BOLD, text)
        ));
    }

    /// A line without a time.
    pub fn plain(self, text: &str) {
        for line in text.lines() {
            self.write(&format!("  {}", self.paint(DIM, line)));
        }
    }

    /// What happened when, and who did it; more lines of the text are indented below.
    pub fn line(self, at: Timestamp, who: &str, text: &str) {
        let time = at.strftime("%H:%M");
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        self.write(&format!(
            "  {}  {:<10} {first}",
            self.paint(DIM, &time.to_string()),
            who
        ));
        for line in lines {
            self.write(&format!("{:20}{}", "", self.paint(DIM, line)));
        }
    }

    /// Something that has to be so.
    pub fn check(self, is_so: bool, text: &str) {
        let mark = if is_so {
            self.paint(GREEN, "ok")
        } else {
            self.paint(RED, "NO")
        };
        self.write(&format!("         {mark}         {text}"));
    }

    /// A good number, or word.
    pub fn good(self, text: &str) -> String {
        self.paint(GREEN, text)
    }

    /// A bad one.
    pub fn bad(self, text: &str) -> String {
        self.paint(RED, text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "everything is written through the teller"
    )]
    fn write(self, text: &str) {
        // Who closed our output doesn't want to read on; the story goes on for its exit code.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}
