//! Accounts and certificates in memory and in `acme.json`, in Traefik's layout: either
//! program can take over the other's file.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::file::{self, Found};
use crate::model::{Domain, Secret};
use crate::tls::{self, Facts};

/// What one resolver has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Kept {
    /// Its account.
    pub(super) account: Option<Account>,
    /// Its certificates; Traefik writes `null` for none.
    #[serde(deserialize_with = "or_default")]
    pub(super) certificates: Vec<Certificate>,
    /// What others wrote there.
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// An account at a CA.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Account {
    /// Its contact.
    pub(super) email: String,
    /// As the CA knows it.
    pub(super) registration: Option<Registration>,
    /// DER, base64: RSA, PKCS #1.
    pub(super) private_key: Secret,
    /// The kind of certificates' keys when it was made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) key_type: String,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// An account as the CA knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Registration {
    /// As the CA described it.
    pub(super) body: Value,
    /// Its URL.
    pub(super) uri: String,
}

/// A certificate.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Certificate {
    /// What it was ordered for.
    pub(super) domain: Domain,
    /// Chain, PEM, base64.
    #[serde(rename = "certificate")]
    pub(super) chain: String,
    /// Key, PEM, base64.
    pub(super) key: Secret,
    /// The TLS store it goes to.
    #[serde(rename = "Store")]
    pub(super) store: String,
    #[serde(flatten)]
    other: Map<String, Value>,
    /// What the chain says, once somebody asked.
    #[serde(skip)]
    facts: OnceCell<Option<Rc<Facts>>>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("email", &self.email).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("domain", &self.domain).finish_non_exhaustive()
    }
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Account {
    pub(super) fn new(email: &str, key: &[u8], registration: Registration) -> Self {
        Self {
            email: email.to_owned(),
            registration: Some(registration),
            private_key: STANDARD.encode(key).into(),
            ..Self::default()
        }
    }

    /// Its key, DER.
    pub(super) fn key(&self) -> Option<Zeroizing<Vec<u8>>> {
        let key = STANDARD.decode(self.private_key.as_bytes()).ok().filter(|key| !key.is_empty());
        key.map(Zeroizing::new)
    }
}

impl Certificate {
    /// From PEM texts.
    pub(super) fn new(names: &[String], chain: &str, key: &str) -> Self {
        let (main, sans) = names
            .split_first()
            .map_or_else(Default::default, |(main, sans)| (main.clone(), sans.to_vec()));
        Self {
            domain: Domain { main, sans },
            chain: STANDARD.encode(chain),
            key: STANDARD.encode(key).into(),
            store: "default".to_owned(),
            ..Self::default()
        }
    }

    /// Chain and key, PEM; `None` when the file holds something else there.
    pub(super) fn pair(&self) -> Option<(String, Secret)> {
        let text = |field: &str| String::from_utf8(STANDARD.decode(field).ok()?).ok();
        Some((text(&self.chain)?, text(&self.key)?.into()))
    }

    /// What the chain says; read once, since it is asked for at every look.
    pub(super) fn facts(&self) -> Option<Rc<Facts>> {
        let read = || tls::facts_of(&self.pair()?.0).map(Rc::new);
        self.facts.get_or_init(read).clone()
    }

    /// The names it was ordered for, the main one first.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        [&self.domain.main].into_iter().chain(&self.domain.sans)
    }
}

/// One file and what stands in it, by resolver.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    content: BTreeMap<String, Kept>,
    /// What others wrote there: kept as it is.
    foreign: BTreeMap<String, Value>,
    /// How often something was put in or taken out, and how much of that is in the file.
    changes: u64,
    saved: u64,
}

/// What opening a store has to tell.
#[derive(Debug, PartialEq)]
pub(super) enum Note {
    /// The file could be read by others, who may have the keys.
    WasOpen { mode: u32 },
    /// It could not be understood and stands aside now; the last good one was taken instead
    /// where there was one.
    SetAside { aside: PathBuf, error: String, restored: bool },
}

impl Store {
    /// Reads a file; an absent or empty one is an empty store. The error says why it must
    /// not be used.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Note>), String> {
        let mut notes = Vec::new();
        let mut store = Self {
            path: path.to_owned(),
            content: BTreeMap::new(),
            foreign: BTreeMap::new(),
            changes: 0,
            saved: 0,
        };
        let Found::Text { text, was_open } = file::read(path)? else { return Ok((store, notes)) };
        notes.extend(was_open.map(|mode| Note::WasOpen { mode }));
        if text.trim_ascii().is_empty() {
            return Ok((store, notes));
        }
        if let Err(error) = store.parse(&text) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let aside = file::set_aside(path, now).map_err(|why| {
                format!(
                    "{} can't be understood ({error}) and can't be set aside ({why}); it is \
                     left as it is: mend it, or move it away",
                    path.display()
                )
            })?;
            let last = file::read(&file::beside(path, "bak"));
            let restored = match last {
                Ok(Found::Text { text, .. }) => store.parse(&text).is_ok(),
                _ => false,
            };
            store.changes += u64::from(restored);
            notes.push(Note::SetAside { aside, error, restored });
        }
        Ok((store, notes))
    }

    fn parse(&mut self, text: &[u8]) -> Result<(), String> {
        let all: BTreeMap<String, Value> =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let mut content = BTreeMap::new();
        let mut foreign = BTreeMap::new();
        for (name, value) in all {
            match serde_json::from_value(value.clone()) {
                Ok(Some(kept)) => drop(content.insert(name, kept)),
                Ok(None) => {}
                Err(_) if !value.is_object() => drop(foreign.insert(name, value)),
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
        self.content = content;
        self.foreign = foreign;
        Ok(())
    }

    /// What a resolver has.
    pub(super) fn kept(&self, resolver: &str) -> Kept {
        self.content.get(resolver).cloned().unwrap_or_default()
    }

    /// A resolver's certificates.
    pub(super) fn certificates(&self, resolver: &str) -> &[Certificate] {
        self.content.get(resolver).map_or(&[], |kept| &kept.certificates)
    }

    /// Keeps an account.
    pub(super) fn put_account(&mut self, resolver: &str, account: Account) {
        self.content.entry(resolver.to_owned()).or_default().account = Some(account);
        self.changes += 1;
    }

    /// Forgets an account that the CA does not know any more.
    pub(super) fn drop_account(&mut self, resolver: &str) {
        if let Some(kept) = self.content.get_mut(resolver) {
            kept.account = None;
            self.changes += 1;
        }
    }

    /// Keeps a certificate, in place of the one for the same names.
    pub(super) fn put_certificate(&mut self, resolver: &str, certificate: Certificate) {
        let kept = &mut self.content.entry(resolver.to_owned()).or_default().certificates;
        let is_same = |old: &&mut Certificate| {
            let sorted = |one: &Certificate| {
                let mut names: Vec<String> = one.names().cloned().collect();
                names.sort();
                names
            };
            sorted(old) == sorted(&certificate)
        };
        match kept.iter_mut().find(is_same) {
            Some(old) => *old = certificate,
            None => kept.push(certificate),
        }
        self.changes += 1;
    }

    /// Whether something would be lost if the process ended now.
    pub(super) fn is_unsaved(&self) -> bool {
        self.saved != self.changes
    }

    /// The file, what is to stand in it, and what to tell [`Store::saved`] once it does.
    pub(super) fn to_save(&self) -> (PathBuf, Zeroizing<Vec<u8>>, u64) {
        let mut all = self.foreign.clone();
        for (name, kept) in &self.content {
            all.insert(name.clone(), serde_json::to_value(kept).unwrap_or_default());
        }
        let text = serde_json::to_vec_pretty(&all).unwrap_or_default();
        (self.path.clone(), text.into(), self.changes)
    }

    /// All that [`Store::to_save`] gave is in the file; what came since is not.
    pub(super) fn saved(&mut self, changes: u64) {
        self.saved = changes;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// As Traefik writes it, with a field that nobody here knows.
    const TRAEFIK: &str = r#"{
  "le": {
    "Account": {
      "Email": "a@example.org",
      "Registration": {"body": {"status": "valid"}, "uri": "https://ca/acct/1"},
      "PrivateKey": "AQID",
      "KeyType": "4096"
    },
    "Certificates": [
      {
        "domain": {"main": "one.example.org", "sans": ["two.example.org"]},
        "certificate": "Y2hhaW4=",
        "key": "a2V5",
        "Store": "default",
        "Later": true
      }
    ]
  },
  "empty": {"Account": null, "Certificates": null},
  "unused": null
}"#;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.json");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (directory, path)
    }

    fn save(store: &mut Store) {
        let (path, text, changes) = store.to_save();
        file::replace(&path, &text).unwrap();
        store.saved(changes);
    }

    #[test]
    fn traefiks_file_is_taken_over_and_given_back_with_all_that_is_in_it() {
        let (_directory, path) = written(TRAEFIK);
        let (mut store, notes) = Store::open(&path).unwrap();

        assert_eq!(notes, []);
        let kept = store.kept("le");
        assert_eq!(*kept.account.as_ref().unwrap().key().unwrap(), [1, 2, 3]);
        assert_eq!(kept.certificates[0].pair().unwrap(), ("chain".into(), "key".to_owned().into()));
        assert_eq!(store.kept("empty"), Kept::default());
        let names = ["three.example.org".to_owned()];
        store.put_certificate("le", Certificate::new(&names, "c", "k"));
        save(&mut store);

        let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let before: Value = serde_json::from_str(TRAEFIK).unwrap();
        assert_eq!(value["le"]["Account"], before["le"]["Account"]);
        assert_eq!(value["le"]["Certificates"][0], before["le"]["Certificates"][0]);
        assert_eq!(value["le"]["Certificates"][1]["domain"]["main"], "three.example.org");
    }

    #[test]
    fn a_certificate_takes_the_place_of_that_for_the_same_names() {
        let (_directory, path) = written(TRAEFIK);
        let (mut store, _) = Store::open(&path).unwrap();
        let names = ["two.example.org".to_owned(), "one.example.org".to_owned()];

        store.put_certificate("le", Certificate::new(&names, "new", "k"));

        let kept = store.kept("le").certificates;
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].pair().unwrap().0, "new");
    }

    #[test]
    fn a_broken_file_stands_aside_and_the_last_good_one_is_used() {
        let (_directory, path) = written(TRAEFIK);
        let (mut store, _) = Store::open(&path).unwrap();
        store.drop_account("empty");
        save(&mut store);
        fs::write(&path, "{\"le\": {\"Acc").unwrap();

        let (store, notes) = Store::open(&path).unwrap();

        assert!(matches!(&notes[..], [Note::SetAside { restored: true, .. }]), "{notes:?}");
        assert_eq!(store.kept("le").certificates.len(), 1);
        assert!(store.is_unsaved());
        let Note::SetAside { aside, .. } = &notes[0] else { panic!() };
        assert_eq!(fs::read_to_string(aside).unwrap(), "{\"le\": {\"Acc");
    }

    #[test]
    fn no_file_and_an_empty_file_are_empty_stores() {
        let (directory, path) = written(" \n");
        for path in [path, directory.path().join("none.json")] {
            let (store, notes) = Store::open(&path).unwrap();

            assert_eq!((store.content.len(), notes.len()), (0, 0));
        }
    }

    #[test]
    fn what_comes_while_the_file_is_written_is_not_saved_yet() {
        let (_directory, path) = written(TRAEFIK);
        let (mut store, _) = Store::open(&path).unwrap();
        store.put_certificate("le", Certificate::new(&["a.org".to_owned()], "c", "k"));
        let (_, _, changes) = store.to_save();
        assert!(store.is_unsaved());

        store.put_certificate("le", Certificate::new(&["b.org".to_owned()], "c", "k"));
        store.saved(changes);

        assert!(store.is_unsaved());
        save(&mut store);
        assert!(!store.is_unsaved());
    }

    #[test]
    fn keys_are_not_printed() {
        let (_directory, path) = written(TRAEFIK);
        let (store, _) = Store::open(&path).unwrap();

        let text = format!("{store:?}");
        assert!(!text.contains("AQID") && !text.contains("a2V5"), "{text}");
    }
}
