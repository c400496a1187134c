//! What connections are told without having asked just now: messages, notices, and replies before a command that waits.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use crate::command::{News, Topic};
use crate::data::notices::Classes;
use crate::engine::{ConnId, Engine, Output, Unit};

impl Engine {
    /// Lets the replies to the commands before one that waits leave without it.
    pub(super) fn answer_so_far(&mut self, unit: &mut Unit) {
        if !unit.out.is_empty() {
            self.outputs.push(Output::Pushed(unit.conn, unit.out.split()));
        }
    }

    /// Sends the messages that came up: those for the connection whose unit runs stand among its replies.
    pub(super) fn send_messages(&mut self, mut running: Option<&mut Unit>) {
        if self.server.messages.is_empty() {
            return;
        }
        let mut ended = HashSet::new();
        for news in self.server.messages.take() {
            let message = match news {
                News::Message(message) => message,
                News::TooMuch(conn, excess) => {
                    self.outputs.push(Output::TooMuch(conn, excess));
                    ended.insert(conn);
                    continue;
                }
            };
            let Some(session) = self.sessions.get(&message.to) else { continue };
            match (&mut running, self.outputs.last_mut()) {
                (Some(unit), _) if unit.conn == message.to => message.push.encode(session.protocol, &mut unit.out),
                (_, Some(Output::Pushed(conn, out))) if *conn == message.to => {
                    message.push.encode(session.protocol, out);
                }
                _ => {
                    let mut out = BytesMut::new();
                    message.push.encode(session.protocol, &mut out);
                    self.outputs.push(Output::Pushed(message.to, out));
                }
            }
        }
        if !ended.is_empty() {
            self.drop_outputs(&ended, running);
        }
    }

    /// Drops what is to be written to connections that are to end for what is on its way to them: they are counted no more.
    fn drop_outputs(&mut self, ended: &HashSet<ConnId>, running: Option<&mut Unit>) {
        if let Some(unit) = running.filter(|unit| ended.contains(&unit.conn)) {
            unit.out = BytesMut::new();
        }
        self.outputs.retain_mut(|output| match output {
            Output::Pushed(conn, _) => !ended.contains(conn),
            Output::Finished(finished) if ended.contains(&finished.conn) => {
                finished.out = BytesMut::new();
                true
            }
            _ => true,
        });
    }

    /// Makes messages of what happened to keys.
    pub(super) fn tell_notices(&mut self) {
        let classes = self.touched.classes;
        for notice in self.touched.notices.drain(..) {
            let database = self.server.keyspaces.iter().position(|keyspace| *keyspace == notice.keyspace);
            // What expires in a keyspace that was flushed is nobody's any more.
            let Some(database) = database else { continue };
            let mut tell = |channel: Vec<u8>, text: Bytes| {
                self.server.channels.publish(Topic::Channel, &channel.into(), &text, &mut self.server.messages);
            };
            let event = Bytes::from_static(notice.event.as_bytes());
            if classes.has(Classes::KEYSPACE) {
                let channel = [format!("__keyspace@{database}__:").as_bytes(), &notice.name[..]].concat();
                tell(channel, event.clone());
            }
            if classes.has(Classes::KEYEVENT) {
                tell(format!("__keyevent@{database}__:{}", notice.event).into_bytes(), notice.name);
            }
        }
    }
}
