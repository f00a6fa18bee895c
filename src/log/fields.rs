//! What a line says besides its text, for formats that have a place for it: which connection and service it is about,
//! and named values. Never in here: how a value is written.

use std::fmt::Display;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use slog::{KV, Record, Serializer};

use super::{Id, Subject};

/// A value, by its type.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Shown(&'a dyn Display),
    Number(u64),
    Seconds(Duration),
    Truth(bool),
}

/// A value and its name.
pub(crate) type Field<'a> = (&'static str, Value<'a>);

/// The fields of a line.
pub(super) struct Fields<'a> {
    pub id: Id,
    pub about: Option<Subject>,
    pub more: &'a [Field<'a>],
}

impl KV for Fields<'_> {
    fn serialize(&self, _: &Record<'_>, out: &mut dyn Serializer) -> slog::Result {
        if let Some(name) = self.about.and_then(|about| service_name(about.service)) {
            out.emit_str("service", &name)?;
        }
        match self.id {
            Id::Ui | Id::Main => {}
            Id::Connection(number) => out.emit_u64("connection", number)?,
            Id::Unique(_) => out.emit_arguments("connection", &format_args!("{}", self.id))?,
        }
        for &(name, value) in self.more {
            match value {
                Value::Text(text) => out.emit_str(name, text)?,
                Value::Shown(value) => out.emit_arguments(name, &format_args!("{value}"))?,
                Value::Number(number) => out.emit_u64(name, number)?,
                Value::Seconds(time) => out.emit_f64(name, time.as_secs_f64())?,
                Value::Truth(truth) => out.emit_bool(name, truth)?,
            }
        }
        Ok(())
    }
}

/// The names of the services that connections of this process have, by their index.
static SERVICES: RwLock<Option<Arc<[String]>>> = RwLock::new(None);

/// From now on lines about connections tell their service by these names.
pub(crate) fn name_services(names: impl Iterator<Item = String>) {
    let names = Some(names.collect());
    *SERVICES.write().unwrap_or_else(PoisonError::into_inner) = names;
}

fn service_name(service: u32) -> Option<String> {
    let names = SERVICES.read().unwrap_or_else(PoisonError::into_inner);
    names.as_ref()?.get(service as usize).cloned()
}
