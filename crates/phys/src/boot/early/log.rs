//! Where the lines of the boot log go.

use core::fmt;

/// A boot log. A line that cannot be written is lost; that is no reason not to boot.
pub struct Log<'a>(&'a mut dyn fmt::Write);

impl<'a> Log<'a> {
    /// Into `out`.
    pub fn new(out: &'a mut dyn fmt::Write) -> Self {
        Self(out)
    }

    /// Writes one line, or several with line ends between them.
    pub fn line(&mut self, text: fmt::Arguments<'_>) {
        let _lost = self.0.write_fmt(text);
        let _lost = self.0.write_char('\n');
    }

    /// Writes lines that have their ends.
    pub fn text(&mut self, text: impl fmt::Display) {
        let _lost = write!(self.0, "{text}");
    }
}

impl fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}
