//! Lists: search, filters, order and pages, for the API and the dashboard alike.

use std::num::IntErrorKind;

use super::query::Query;
use crate::table::Status;

/// Which rows of a list are wanted, in which order.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// Lower case.
    pub(super) search: String,
    pub(super) status: String,
    pub(super) service: String,
    pub(super) middleware: String,
    pub(super) sort_by: String,
    pub(super) descending: bool,
    pub(super) page: usize,
    pub(super) per_page: usize,
}

/// What a list is made of.
pub(super) trait Row {
    /// Qualified.
    fn name(&self) -> &str;
    fn status(&self) -> &str;
    /// Whether the lower case text is in it.
    fn contains(&self, search: &str) -> bool;
    /// What `sortBy` orders by; `None` for a column that it does not have.
    fn column(&self, name: &str) -> Option<Key>;
    /// Has this service.
    fn has_service(&self, _name: &str) -> bool {
        true
    }
    /// Has this middleware.
    fn has_middleware(&self, _name: &str) -> bool {
        true
    }
}

/// A value to order by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Number(i64),
    Text(String),
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    /// Before it was cut into pages.
    pub(super) total: usize,
    /// 1 when this is the last one.
    pub(super) next: usize,
}

/// What the query of a request asks for; the error is Traefik's text.
pub(super) fn selection(query: &Query) -> Result<Selection, String> {
    let per_page = positive(query, "per_page", 100)?;
    let page = positive(query, "page", 1)?;
    Ok(Selection {
        search: query.get("search").to_lowercase(),
        status: query.get("status").to_owned(),
        service: query.get("serviceName").to_owned(),
        middleware: query.get("middlewareName").to_owned(),
        sort_by: query.get("sortBy").to_owned(),
        descending: !matches!(query.get("direction"), "" | "asc"),
        page,
        per_page,
    })
}

fn positive(query: &Query, key: &str, default: usize) -> Result<usize, String> {
    let text = query.get(key);
    if text.is_empty() {
        return Ok(default);
    }
    let number = match text.parse::<i64>() {
        Ok(number) if number > 0 => return Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        Ok(number) => number,
        // As Go: what is too much is the most there is.
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => i64::MAX,
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => i64::MIN,
        Err(_) => 0,
    };
    Err(format!("invalid request: {key}: {number}"))
}

impl Selection {
    /// Whether the row is wanted.
    pub(super) fn takes(&self, row: &impl Row) -> bool {
        (self.search.is_empty() || row.contains(&self.search))
            && (self.status.is_empty() || row.status().eq_ignore_ascii_case(&self.status))
            && (self.service.is_empty() || row.has_service(&self.service))
            && (self.middleware.is_empty() || row.has_middleware(&self.middleware))
    }

    /// Filters, sorts and cuts; `rows` come ordered by name.
    pub(super) fn select<T: Row>(&self, rows: impl Iterator<Item = T>) -> Result<Page<T>, String> {
        let mut rows: Vec<T> = rows.filter(|row| self.takes(row)).collect();
        if !self.sort_by.is_empty() {
            rows.sort_by_cached_key(|row| (row.column(&self.sort_by), row.name().to_owned()));
        }
        if self.descending {
            rows.reverse();
        }
        self.cut(rows)
    }

    /// Cuts the wanted page out of an ordered list.
    pub(super) fn cut<T>(&self, rows: Vec<T>) -> Result<Page<T>, String> {
        let total = rows.len();
        let start = (self.page - 1).saturating_mul(self.per_page);
        if start != 0 && start >= total {
            return Err(format!(
                "invalid request: page: {}, per_page: {}",
                self.page, self.per_page
            ));
        }
        let next = if start.saturating_add(self.per_page) < total { self.page + 1 } else { 1 };
        let rows = rows.into_iter().skip(start).take(self.per_page).collect();
        Ok(Page { rows, total, next })
    }
}

/// How a text is searched: without regard to case.
pub(super) fn holds(text: &str, search: &str) -> bool {
    text.to_lowercase().contains(search)
}

/// A status to order by.
pub(super) fn status_key(status: Status) -> Key {
    Key::Text(status.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word(&'static str);

    impl Row for Word {
        fn name(&self) -> &str {
            self.0
        }
        fn status(&self) -> &'static str {
            "enabled"
        }
        fn contains(&self, search: &str) -> bool {
            holds(self.0, search)
        }
        fn column(&self, name: &str) -> Option<Key> {
            (name == "length").then(|| Key::Number(i64::try_from(self.0.len()).unwrap()))
        }
    }

    fn ask(query: &str) -> Result<(Vec<&'static str>, usize), String> {
        let words = ["Alpha", "be", "cc", "delta"].map(Word);
        let selection = selection(&Query::parse(Some(query)))?;
        let page = selection.select(words.into_iter())?;
        Ok((page.rows.into_iter().map(|row| row.0).collect(), page.next))
    }

    #[test]
    fn lists_are_filtered_sorted_and_cut() {
        let cases: [(&str, &[&str], usize); 9] = [
            ("", &["Alpha", "be", "cc", "delta"], 1),
            ("search=LTA", &["delta"], 1),
            ("status=ENABLED&per_page=3", &["Alpha", "be", "cc"], 2),
            ("per_page=3&page=2", &["delta"], 1),
            ("status=disabled", &[], 1),
            ("sortBy=length", &["be", "cc", "Alpha", "delta"], 1),
            ("sortBy=length&direction=desc", &["delta", "Alpha", "cc", "be"], 1),
            ("sortBy=nosuch&direction=x", &["delta", "cc", "be", "Alpha"], 1),
            ("sortBy=nosuch&direction=asc", &["Alpha", "be", "cc", "delta"], 1),
        ];
        for (query, rows, next) in cases {
            assert_eq!(ask(query), Ok((rows.to_vec(), next)), "{query}");
        }
    }

    #[test]
    fn impossible_pages_are_refused_in_traefiks_words() {
        let cases = [
            ("per_page=-1", "invalid request: per_page: -1"),
            ("page=x", "invalid request: page: 0"),
            ("page=0", "invalid request: page: 0"),
            ("page=2", "invalid request: page: 2, per_page: 100"),
            (
                "page=9223372036854775807&per_page=9",
                "invalid request: page: 9223372036854775807, per_page: 9",
            ),
        ];
        for (query, text) in cases {
            assert_eq!(ask(query), Err(text.to_owned()), "{query}");
        }
        assert_eq!(ask("search=nothing&page=1"), Ok((Vec::new(), 1)));
    }
}
