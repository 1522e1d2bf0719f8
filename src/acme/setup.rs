//! Resolvers as they stand at start: settings checked, files read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::dns::Dns;
use super::order::Way;
use super::request;
use super::status;
use super::store::{Certificate, Note, Store};
use super::{Shared, Wanted};
use crate::model::{CertificateFiles, Sourced};
use crate::problem::{Code, Origin, Problem};
use crate::settings::{Acme, Settings};

/// A file, shared by the resolvers that keep their things in it.
pub(super) struct Shelf {
    pub(super) store: RefCell<Store>,
    /// Held while the file is written.
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
}

/// One resolver, ready to work.
pub(super) struct Resolver {
    pub(super) name: Arc<str>,
    pub(super) acme: Acme,
    pub(super) way: Way,
    pub(super) shelf: Rc<Shelf>,
}

/// All resolvers that can work, and what is wrong with the others.
#[derive(Default)]
pub struct Setup {
    pub(super) resolvers: Vec<Resolver>,
    /// Certificates on hand, by resolver.
    pub certificates: BTreeMap<Arc<str>, Vec<Arc<Sourced<CertificateFiles>>>>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Checks the settings of all resolvers and reads their files. As Traefik: a resolver that
/// can't work is left out with a problem, and the rest starts.
pub fn open(settings: &Settings, shared: &Shared) -> Setup {
    let mut setup = Setup::default();
    let mut shelves: BTreeMap<PathBuf, Result<Rc<Shelf>, String>> = BTreeMap::new();
    for (name, resolver) in &settings.certificates_resolvers {
        let name: Arc<str> = name.as_str().into();
        let Some(acme) = &resolver.acme else {
            let text = format!("certificates resolver {name} has no `acme`");
            setup.refuse(&name, shared, text, "set certificatesResolvers.<name>.acme");
            continue;
        };
        shared.board.write(&name, |entry| {
            entry.ca_server.clone_from(&acme.ca_server);
            entry.storage.clone_from(&acme.storage);
        });
        let way = match way(acme, settings) {
            Ok(way) => way,
            Err((text, mend)) => {
                setup.refuse(&name, shared, format!("certificates resolver {name}: {text}"), mend);
                continue;
            }
        };
        shared.board.write(&name, |entry| way.kind().clone_into(&mut entry.challenge));
        let path = real(Path::new(&acme.storage));
        let problems = &mut setup.problems;
        let shelf = shelves.entry(path.clone()).or_insert_with(|| shelf(&path, problems));
        let shelf = match shelf {
            Ok(shelf) => Rc::clone(shelf),
            Err(error) => {
                let text = format!(
                    "the ACME resolve is skipped from the resolvers list: resolver {name}: \
                     unable to get ACME account: {error}"
                );
                setup.refuse(&name, shared, text, "give `storage` a file of mode 600 of our own");
                continue;
            }
        };
        let kept = shelf.store.borrow().kept(&name);
        let files = kept.certificates.iter().filter_map(files).collect();
        setup.certificates.insert(Arc::clone(&name), files);
        setup.resolvers.push(Resolver { name, acme: acme.clone(), way, shelf });
    }
    setup
}

/// What `wharf check` has to say of resolvers; reads no file of theirs.
pub fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, resolver) in &settings.certificates_resolvers {
        let error = |text: String, mend: &str| {
            Problem::error(Code::BadValue, Origin::Internal, text).mend(mend)
        };
        let Some(acme) = &resolver.acme else {
            let text = format!("certificates resolver {name} has no `acme`");
            problems.push(error(text, "set certificatesResolvers.<name>.acme"));
            continue;
        };
        if let Err((text, mend)) = way(acme, settings) {
            problems.push(error(format!("certificates resolver {name}: {text}"), mend));
        }
        if acme.email.is_empty() {
            let text = format!("certificates resolver {name} has no email");
            let problem = Problem::warning(Code::Notice, Origin::Internal, text);
            problems.push(problem.mend("set `email`: the CA writes there when something is wrong"));
        }
    }
    problems
}

/// Orders at once that a public CA's rate limit may not take.
const MANY: usize = 40;

/// Warns of resolvers that would order very many certificates at once.
pub fn crowd(settings: &Settings, wanted: &[Wanted]) -> Vec<Problem> {
    let resolvers = settings.certificates_resolvers.keys();
    let counted =
        resolvers.map(|name| (name, wanted.iter().filter(|one| *one.resolver == **name).count()));
    let many = counted.filter(|(_, count)| *count > MANY);
    many.map(|(name, count)| {
        let text = format!(
            "resolver {name} has {count} certificates to order: a CA's rate limit may not let \
             that many through at once"
        );
        Problem::warning(Code::Notice, Origin::Internal, text).mend(
            "use a wildcard with the DNS challenge, or the CA's staging server for the first start",
        )
    })
    .collect()
}

impl Setup {
    fn refuse(&mut self, name: &Arc<str>, shared: &Shared, text: String, mend: &str) {
        shared.board.write(name, |entry| {
            entry.error = Some(text.clone());
            entry.mend = Some(mend.to_owned());
        });
        let problem = Problem::error(Code::BadValue, Origin::Internal, text).mend(mend);
        self.problems.push(problem);
    }
}

/// A certificate as the table takes it.
pub(super) fn files(certificate: &Certificate) -> Option<Arc<Sourced<CertificateFiles>>> {
    let (cert_file, key_file) = certificate.pair()?;
    let value = CertificateFiles { cert_file, key_file, stores: Vec::new() };
    Some(Arc::new(Sourced::new(value, vec![Origin::Internal])))
}

/// One path for one file, however it is written and whatever links lead there: two shelves
/// for it would undo each other's work, and a link would be replaced instead of its file.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new(".")).canonicalize();
    match (parent, path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

fn shelf(path: &Path, problems: &mut Vec<Problem>) -> Result<Rc<Shelf>, String> {
    let (store, notes) = Store::open(path)?;
    let shown = path.display();
    for note in notes {
        let (text, mend) = match note {
            Note::WasOpen { mode } => (
                format!("{shown} had mode {mode:o}: others may have read the keys in it"),
                "its mode is 600 now; if others use this machine, have the certificates revoked"
                    .to_owned(),
            ),
            Note::SetAside { aside, error, restored } => {
                let aside = aside.display();
                let used = if restored {
                    "the last good one, beside it as .bak, is used"
                } else {
                    "there is no good one beside it, so all certificates are ordered anew"
                };
                let text = format!("{shown} can't be understood ({error}); {used}");
                (text, format!("it is kept as {aside}: look into it, then remove it"))
            }
        };
        problems.push(Problem::warning(Code::Notice, Origin::Internal, text).mend(mend));
    }
    Ok(Rc::new(Shelf { store: RefCell::new(store), writing: Arc::default() }))
}

type Refused = (String, &'static str);

fn way(acme: &Acme, settings: &Settings) -> Result<Way, Refused> {
    let kind = acme.key_type.to_ascii_uppercase();
    if !kind.is_empty() && !request::KINDS.contains(&&*kind) {
        let text = format!("keyType {kind:?}; there are {}", request::KINDS.join(", "));
        return Err((text, "choose one of them, or leave it out for EC256"));
    }
    if acme.storage.is_empty() {
        let text = "acme.storage is empty: nowhere to keep account and certificates".to_owned();
        return Err((text, "set `storage` to a file such as /data/acme.json"));
    }
    // As Traefik: DNS before HTTP before TLS.
    if let Some(dns) = &acme.dns_challenge {
        let dns = Dns::new(dns).map_err(|error| (error, "see the provider's variables"))?;
        return Ok(Way::Dns(Box::new(dns)));
    }
    if let Some(http) = &acme.http_challenge {
        let on = &http.entry_point;
        if !settings.entry_points.contains_key(on) {
            let text = format!("httpChallenge.entryPoint {on:?} is no entry point");
            return Err((text, "name the entry point that listens on port 80"));
        }
        return Ok(Way::Http(http.delay.positive().unwrap_or_default()));
    }
    if let Some(tls) = &acme.tls_challenge {
        return Ok(Way::Tls(tls.delay.positive().unwrap_or_default()));
    }
    Err((
        "no challenge is set: the CA has no way to see that a name is ours".to_owned(),
        "set httpChallenge.entryPoint, tlsChallenge or dnsChallenge.provider",
    ))
}

/// Why no certificate can be ordered for a name, if so.
pub fn bad_name(name: &str) -> Option<&'static str> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Some("it is an address, not a name");
    }
    if bare.len() > 253 || !bare.split('.').all(is_label) {
        return Some("it is no DNS name");
    }
    if !bare.contains('.') {
        return Some("it has no domain");
    }
    None
}

impl status::Resolver {
    /// The same again, with another trouble.
    pub(super) fn trouble(&mut self, trouble: Option<(String, String)>) {
        (self.error, self.mend) = trouble.unzip();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    #[test]
    fn one_file_is_one_shelf_however_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().canonicalize().unwrap();
        std::fs::create_dir(below.join("sub")).unwrap();
        let file = below.join("acme.json");
        let other = below.join("sub/../acme.json");
        assert_eq!((real(&other), real(&file)), (file.clone(), file.clone()), "none there yet");

        std::fs::write(&file, "{}").unwrap();
        std::os::unix::fs::symlink(&file, below.join("link.json")).unwrap();

        assert_eq!(real(&other), file);
        assert_eq!(real(&below.join("link.json")), file);
        assert_eq!(real(Path::new("/no/such/acme.json")), Path::new("/no/such/acme.json"));
    }

    #[test]
    fn very_many_orders_at_once_are_warned_of() {
        let mut settings = Settings::default();
        for name in ["le", "other"] {
            settings.certificates_resolvers.insert(name.to_owned(), settings::Resolver::default());
        }
        let wanted = |count| -> Vec<Wanted> {
            let one = |number| Wanted {
                resolver: "le".into(),
                names: vec![format!("h{number}.example.org")],
                routers: Vec::new(),
                is_default: false,
            };
            (0..count).map(one).collect()
        };

        assert_eq!(crowd(&settings, &wanted(MANY)), []);
        let problems = crowd(&settings, &wanted(MANY + 1));
        let text = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(text.contains("resolver le has 41 certificates to order"), "{text}");
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn names_that_no_ca_takes_are_told() {
        for (name, why) in [
            ("a.example.org", None),
            ("*.example.org", None),
            ("192.0.2.1", Some("it is an address, not a name")),
            ("localhost", Some("it has no domain")),
            ("a..org", Some("it is no DNS name")),
            ("a b.org", Some("it is no DNS name")),
            ("*.*.org", Some("it is no DNS name")),
            ("-a.org", Some("it is no DNS name")),
        ] {
            assert_eq!(bad_name(name), why, "{name}");
        }
    }
}
