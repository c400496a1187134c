//! The terminal: another screen while this runs, and the old one again however it ends.

use std::io::{self, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, read};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc;

use super::frame::Size;

/// What a terminal has that says nothing about itself.
const USUAL: (u16, u16) = (80, 24);

/// The screen. Dropping it gives the terminal back as it was; a panic does so before it says anything.
pub(super) struct Screen(());

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When standard output is no terminal that does what is needed.
    pub(super) fn take() -> io::Result<Screen> {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        enable_raw_mode()?;
        let screen = Screen(());
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(screen)
    }

    /// Shows lines from the top, as many as the screen has.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(lines) {
            // Cleared first: behind a line as wide as the screen the cursor stands on its last character.
            queue!(out, MoveTo(0, row), Clear(ClearType::UntilNewLine), Print(line))?;
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// As far as it goes: a terminal that is gone needs nothing.
fn give_back() {
    let _ = execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

/// The terminal's size.
pub(super) fn current_size() -> Size {
    let (width, height) = size().unwrap_or(USUAL);
    Size { width: width.into(), height: Some(height.into()) }
}

/// Keys and changes of size, read by a thread of their own: it ends with the program.
pub(super) fn events() -> io::Result<mpsc::UnboundedReceiver<Event>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let forward = move || {
        while let Ok(event) = read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("agq-keys".to_owned()).spawn(forward)?;
    Ok(receiver)
}
