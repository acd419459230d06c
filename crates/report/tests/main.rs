//! Tests of the report from the outside: estimates against sums by hand, the page against parsers.

#[cfg(test)]
mod main {
    mod estimates;
    mod page;
}
