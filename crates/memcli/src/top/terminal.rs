//! The terminal while the live view has it, and its return on every way out.

use std::io::{self, Stdout, Write};
use std::mem::{self, ManuallyDrop};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    BeginSynchronizedUpdate, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Frame;
use ratatui::backend::CrosstermBackend;

/// Whether the terminal is ours, so that it is given back once and only when it was taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over. Given back when this is dropped, and by a panic before its message is printed.
#[derive(Debug)]
pub struct Terminal {
    /// Never dropped while the terminal may be gone: see [`release`].
    inner: ManuallyDrop<Inner>,
}

type Inner = ratatui::Terminal<CrosstermBackend<Stdout>>;

impl Terminal {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When stdout is no terminal or does not obey.
    pub fn take() -> io::Result<Self> {
        give_back_on_panic();
        let taken =
            enter().and_then(|()| ratatui::Terminal::new(CrosstermBackend::new(io::stdout())));
        match taken {
            Ok(inner) => Ok(Self { inner: ManuallyDrop::new(inner) }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Gives the terminal back, does something else, and takes it over again: the next frame is drawn as a whole.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn lend(&mut self, meanwhile: impl FnOnce()) -> io::Result<()> {
        give_back();
        meanwhile();
        // Nothing of what was drawn is there any more. (To clear it would ask the terminal for its cursor, and wait.)
        let new = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()))?;
        release(ManuallyDrop::into_inner(mem::replace(&mut self.inner, ManuallyDrop::new(new))));
        enter()
    }

    /// Draws one frame. The terminal shows it as a whole: those that know how wait for its end.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        execute!(io::stdout(), BeginSynchronizedUpdate)?;
        self.inner.draw(paint)?;
        execute!(io::stdout(), EndSynchronizedUpdate)
    }

    /// The width of the terminal in columns.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.inner.size().map_or(0, |size| size.width)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The view is over: what the other holds goes with the process.
        give_back();
    }
}

/// Lets go of ratatui's part. Its own drop shows the cursor and panics when neither the terminal nor stderr is there any more
/// to say that it could not.
fn release(mut inner: Inner) {
    if inner.show_cursor().is_err() {
        mem::forget(inner);
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, DisableLineWrap, Hide)
}

/// Undoes each step whether or not another fails: a terminal that is half back is worse than an error nobody sees.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut stdout = io::stdout();
    let _ = execute!(stdout, EndSynchronizedUpdate);
    let _ = execute!(stdout, LeaveAlternateScreen, EnableLineWrap, Show);
    let _ = disable_raw_mode();
    let _ = stdout.flush();
}

/// The message of a panic belongs on the screen that stays.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}
