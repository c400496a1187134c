//! Which access key a client's certificate names.
//!
//! It does so with a URI of its own kind, `agq:key:<name>`, among its alternative names. A common name would do no good:
//! certificates bear one for other reasons, and an authority that signs for other programs too could give away a key by
//! chance.

use rustls::pki_types::CertificateDer;

use crate::command::Vouched;
use crate::jobs::Id;
use crate::jobs::error::shown;

const PREFIX: &str = "agq:key:";

/// The key that a certificate means; `None` when it names none.
pub(super) fn vouched(certificate: &CertificateDer<'_>) -> Option<Vouched> {
    of_names(&agq_tls::uri_names(certificate))
}

fn of_names(names: &[String]) -> Option<Vouched> {
    let mut keys = names.iter().filter_map(|name| name.strip_prefix(PREFIX));
    let name = keys.next()?;
    if let Some(other) = keys.next() {
        let (one, other) = (shown(name.as_bytes()), shown(other.as_bytes()));
        let why = format!("the certificate names the access keys '{one}' and '{other}', and may name one");
        return Some(Vouched::Unclear(why.into()));
    }
    Some(Id::sound(name.as_bytes()).map_or_else(
        || {
            let name = shown(name.as_bytes());
            let why = format!(
                "the certificate names the access key '{name}', which cannot be a key's name: that is 1 to 128 letters, \
                 digits, '_' or '-'"
            );
            Vouched::Unclear(why.into())
        },
        Vouched::Key,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Option<Vouched> {
        of_names(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_key_is_named_once_and_by_a_name_that_it_can_have() {
        let key = |name: &str| Id::sound(name.as_bytes()).map(Vouched::Key);
        assert_eq!(of(&["https://example.org", "agq:key:ci_1"]), key("ci_1"));
        assert_eq!(of(&["https://example.org", "agq:keys:ci", "ci"]), None);
        let unclear = |names: &[&str]| match of(names) {
            Some(Vouched::Unclear(why)) => why.to_string(),
            other => panic!("{names:?}: {other:?}"),
        };
        assert!(unclear(&["agq:key:a", "agq:key:b"]).contains("'a' and 'b'"));
        assert!(unclear(&["agq:key:"]).contains("access key ''"));
        assert!(unclear(&["agq:key:a\nb"]).contains(r"'a\nb'"));
    }
}
