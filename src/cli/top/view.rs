//! What the person in front of the screen has chosen: a pane, an order, a place; and what a key changes.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Columns of each pane that can be sorted by.
const COLUMNS: [usize; 3] = [8, 4, 5];
/// Rows that a page key passes.
const PAGE: usize = 10;

/// How one pane is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PaneView {
    /// The column that it is sorted by; `None` as the server has it.
    pub(super) sort: Option<usize>,
    /// The other way round.
    pub(super) reversed: bool,
    /// Rows passed over.
    pub(super) offset: usize,
}

/// How all of it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) focus: usize,
    pub(super) panes: [PaneView; 3],
    /// The sample on the screen stays.
    pub(super) paused: bool,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To leave.
    Quit,
    /// To show what has changed.
    Draw,
}

impl View {
    /// Takes a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Draw;
        }
        let pane = &mut self.panes[self.focus];
        let count = COLUMNS.len();
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Asked::Quit,
            KeyCode::Char('q') | KeyCode::Esc => return Asked::Quit,
            KeyCode::Tab | KeyCode::Right => self.focus = (self.focus + 1) % count,
            KeyCode::BackTab | KeyCode::Left => self.focus = (self.focus + count - 1) % count,
            KeyCode::Down | KeyCode::Char('j') => pane.offset += 1,
            KeyCode::Up | KeyCode::Char('k') => pane.offset = pane.offset.saturating_sub(1),
            KeyCode::PageDown => pane.offset += PAGE,
            KeyCode::PageUp => pane.offset = pane.offset.saturating_sub(PAGE),
            KeyCode::Home => pane.offset = 0,
            KeyCode::Char('s') => {
                pane.sort = match pane.sort {
                    None => Some(0),
                    Some(column) => Some(column + 1).filter(|column| *column < COLUMNS[self.focus]),
                };
            }
            KeyCode::Char('r') => pane.reversed = !pane.reversed,
            KeyCode::Char('p') => self.paused = !self.paused,
            _ => {}
        }
        Asked::Draw
    }

    /// The first row to show of so many, where there is room for some: never past the last page.
    pub(super) fn scroll_to_fit(&mut self, pane: usize, total: usize, room: usize) -> usize {
        let offset = &mut self.panes[pane].offset;
        *offset = (*offset).min(total.saturating_sub(room));
        *offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, codes: &[KeyCode]) {
        for code in codes {
            assert_eq!(view.key(KeyEvent::from(*code)), Asked::Draw);
        }
    }

    #[test]
    fn keys_choose_panes_orders_and_places() {
        let mut view = View::default();
        press(&mut view, &[KeyCode::Tab, KeyCode::Down, KeyCode::PageDown, KeyCode::Up]);
        assert_eq!((view.focus, view.panes[1].offset), (1, 10));
        press(&mut view, &[KeyCode::BackTab, KeyCode::BackTab, KeyCode::Char('s'), KeyCode::Char('r')]);
        assert_eq!((view.focus, view.panes[2].sort, view.panes[2].reversed), (2, Some(0), true));
        press(&mut view, &[KeyCode::Char('s'); 5]);
        assert_eq!(view.panes[2].sort, None, "behind the last column it is the server's order again");
        press(&mut view, &[KeyCode::Char('p')]);
        assert!(view.paused);
        assert_eq!(view.key(KeyEvent::from(KeyCode::Char('q'))), Asked::Quit);
        assert_eq!(view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Asked::Quit);
    }
}
