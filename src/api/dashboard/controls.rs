//! Search, filters, order and pages of a list, as links.

use std::fmt::Write;

use super::Visit;
use crate::api::list::{Page, Row, Selection};
use crate::api::query::encode;

/// The controls of a list.
pub(super) struct Controls {
    pub(super) search: String,
    pub(super) status: String,
    sort_by: String,
    descending: bool,
    page: usize,
    per_page: usize,
    pub(super) total: usize,
}

/// The wanted page of a list with its controls. A page beyond the end, as when things went
/// while somebody watched, is the first one.
pub(super) fn list<T: Row, I: Iterator<Item = T>>(
    visit: &Visit<'_>,
    per_page: usize,
    rows: impl Fn() -> I,
) -> (Controls, Vec<T>) {
    let mut selection = Selection {
        search: visit.query.get("search").to_lowercase(),
        status: visit.query.get("status").to_owned(),
        service: String::new(),
        middleware: String::new(),
        sort_by: visit.query.get("sort").to_owned(),
        descending: visit.query.get("order") == "desc",
        page: visit.query.get("page").parse().ok().filter(|page| *page > 0).unwrap_or(1),
        per_page,
    };
    let page = selection.select(rows()).unwrap_or_else(|_| {
        selection.page = 1;
        selection.select(rows()).unwrap_or(Page { rows: Vec::new(), total: 0, next: 1 })
    });
    let controls = Controls {
        search: visit.query.get("search").to_owned(),
        status: selection.status,
        sort_by: selection.sort_by,
        descending: selection.descending,
        page: selection.page,
        per_page,
        total: page.total,
    };
    (controls, page.rows)
}

impl Controls {
    fn href(&self, status: &str, sort: &str, order: &str, page: usize) -> String {
        let mut href = String::from("?");
        let page = if page > 1 { page.to_string() } else { String::new() };
        let pairs = [
            ("search", self.search.as_str()),
            ("status", status),
            ("sort", sort),
            ("order", order),
            ("page", &page),
        ];
        for (key, value) in pairs {
            if !value.is_empty() {
                let gap = if href.len() > 1 { "&" } else { "" };
                // Writing to a string can't fail.
                let _ = write!(href, "{gap}{key}={}", encode(value));
            }
        }
        href
    }

    fn order(&self) -> &'static str {
        if self.descending { "desc" } else { "" }
    }

    /// The same list of things with that status only; empty: with any.
    pub(super) fn status_href(&self, status: &str) -> String {
        self.href(status, &self.sort_by, self.order(), 1)
    }

    /// The same list by that column; the other way round when it is ordered by it already.
    pub(super) fn sort_href(&self, column: &str) -> String {
        let order = if self.aria_sort(column) == "ascending" { "desc" } else { "" };
        self.href(&self.status, column, order, 1)
    }

    /// How the list is ordered by that column.
    pub(super) fn aria_sort(&self, column: &str) -> &'static str {
        let own = if self.sort_by.is_empty() { "name" } else { &self.sort_by };
        match (own == column, self.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        }
    }

    pub(super) fn previous(&self) -> Option<String> {
        (self.page > 1).then(|| self.href(&self.status, &self.sort_by, self.order(), self.page - 1))
    }

    pub(super) fn next(&self) -> Option<String> {
        (self.last() < self.total)
            .then(|| self.href(&self.status, &self.sort_by, self.order(), self.page + 1))
    }

    /// Number of the first row shown, from 1.
    pub(super) fn first(&self) -> usize {
        if self.total == 0 { 0 } else { (self.page - 1) * self.per_page + 1 }
    }

    /// Number of the last row shown.
    pub(super) fn last(&self) -> usize {
        (self.page.saturating_mul(self.per_page)).min(self.total)
    }

    /// Something is searched for or filtered.
    pub(super) fn is_narrowed(&self) -> bool {
        !self.search.is_empty() || !self.status.is_empty()
    }

    pub(super) fn sort_field(&self) -> &str {
        &self.sort_by
    }

    pub(super) fn order_field(&self) -> &'static str {
        self.order()
    }
}
