//! The page is well-formed, loads and runs nothing, shows any text as text, and its labels keep apart.

use report::{
    Bar, Bars, Estimator, Interval, Intervals, IntervalsRow, Logged, Page, Panel, Section, Table, policy_page,
};
use roxmltree::{Document, Node, ParsingOptions};

const NASTY: &str = "<script>alert('&amp;\"')</script>\u{0}\u{8}]]>--><b title=\"";

fn estimates_page(name: &str, slots: usize) -> Page {
    let mut estimator = Estimator::new([name.to_owned(), "never matches".to_owned()]);
    for at in 0..slots * 20 {
        let slot = (at % slots).to_string();
        let reward = f64::from(u8::from(at % 7 == 0));
        let probability = (at % 3) as f64 / 2.0;
        estimator.add(&Logged { policy: 0, slot: &slot, propensity: 0.25, probability, reward }).unwrap();
        estimator.add(&Logged { policy: 1, slot: &slot, propensity: 0.25, probability: 0.0, reward }).unwrap();
    }
    policy_page(name, &estimator.estimates())
}

fn every_section(text: &str) -> Page {
    let name = || text.to_owned();
    let mark = Interval { value: 0.5, ends: Some((0.25, 0.75)) };
    let row = IntervalsRow { name: name(), reference: Some(0.4), marks: vec![Some(mark), None] };
    let panels = vec![Panel { title: name(), rows: vec![row] }];
    Page {
        title: name(),
        sections: vec![
            Section::Heading(name()),
            Section::Text(name()),
            Section::Terms(vec![(name(), name())]),
            Section::Table(Table { title: name(), columns: vec![name()], rows: vec![vec![name(), name()]] }),
            Section::Intervals(Intervals {
                measure: name(),
                series: vec![name(), name()],
                reference: Some(name()),
                panels,
            }),
            Section::Bars(Bars {
                measure: name(),
                series: vec![name(), name()],
                rows: vec![Bar { name: name(), values: vec![Some(-2.0), None] }],
            }),
        ],
    }
}

fn parsed<T>(html: &str, look: impl Fn(Node) -> T) -> T {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    look(Document::parse_with_options(html, options).unwrap_or_else(|error| panic!("{error}: {html}")).root())
}

fn texts<'a>(root: Node<'a, 'a>, class: &str) -> Vec<Node<'a, 'a>> {
    root.descendants().filter(|node| node.has_tag_name("text") && node.attribute("class") == Some(class)).collect()
}

#[test]
fn it_loads_and_runs_nothing() {
    for page in [estimates_page("plain", 3), every_section(NASTY)] {
        let html = page.html();
        assert!(html.starts_with("<!DOCTYPE html>"));
        assert_eq!(html, page.clone().html());
        parsed(&html, |root| {
            for node in root.descendants().filter(Node::is_element) {
                let tag = node.tag_name().name();
                assert!(!["script", "link", "img", "iframe", "image", "use", "a"].contains(&tag), "{tag}");
                for attribute in node.attributes() {
                    let (name, value) = (attribute.name(), attribute.value());
                    assert!(!name.starts_with("on") && !["src", "href", "style", "data"].contains(&name), "{name}");
                    assert!(name == "aria-label" || !value.contains("://"), "{value}");
                }
            }
            let style =
                root.descendants().find(|node| node.has_tag_name("style")).and_then(|node| node.text()).unwrap();
            assert!(!style.contains("url(") && !style.contains("@import"));
        });
        assert!(html.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    }
}

#[test]
fn any_text_is_shown_as_it_is() {
    let shown = NASTY.replace(['\u{0}', '\u{8}'], "\u{fffd}");
    parsed(&every_section(NASTY).html(), |root| {
        let holders = root.descendants().filter(|node| node.is_text() && node.text() == Some(&shown));
        let tags: Vec<&str> = holders.filter_map(|node| Some(node.parent()?.tag_name().name())).collect();
        let cells = ["title", "h1", "h2", "p", "dt", "dd", "caption", "th", "th", "td"];
        let plots = ["li", "li", "li", "figcaption", "text", "text", "title", "li", "li", "text", "text", "title"];
        assert_eq!(tags, [&cells[..], &plots[..]].concat());
    });
}

#[test]
fn labels_of_ticks_keep_apart() {
    let mut bars = every_section("plain");
    for exponent in -12..13 {
        let Some(Section::Bars(plot)) = bars.sections.last_mut() else { panic!("bars are last") };
        plot.rows[0].values = [-7.3, 7.3].map(|value| Some(value * 10f64.powi(exponent))).into();
        parsed(&bars.html(), |root| {
            for svg in root.descendants().filter(|node| node.has_tag_name("svg")) {
                // At this size a digit is at most 7 units wide.
                let extents = texts(svg, "tick").into_iter().map(|tick| {
                    let middle: f64 = tick.attribute("x").unwrap().parse().unwrap();
                    let widths =
                        tick.text().unwrap().chars().map(|letter| if letter.is_alphanumeric() { 7.0 } else { 3.5 });
                    let half = widths.sum::<f64>() / 2.0;
                    (middle - half, middle + half)
                });
                let extents: Vec<(f64, f64)> = extents.collect();
                assert!(extents.windows(2).all(|pair| pair[0].1 < pair[1].0), "{extents:?}");
                // The page's margin has room for what juts out.
                assert!(extents.iter().all(|(left, right)| *left >= -12.0 && *right <= 360.0), "{extents:?}");
            }
        });
    }
}

#[test]
fn policies_are_plotted_overall_and_by_slot() {
    parsed(&estimates_page("plain", 3).html(), |root| {
        let of = |tag: &str| root.descendants().filter(|node| node.has_tag_name(tag)).count();
        assert_eq!((of("table"), of("figure"), of("tr")), (2, 5, 2 * 5));
        let names: Vec<_> = texts(root, "name").into_iter().filter_map(|name| name.text()).collect();
        assert_eq!(names, ["plain", "never matches"].repeat(5));
        let values: Vec<_> = texts(root, "value").into_iter().filter_map(|value| value.text()).collect();
        assert_eq!(values[3..6], ["–"; 3]);
        assert_eq!(values[values.len() - 6..], ["60", "40", "36", "60", "0", "–"]);
    });
}

#[test]
fn one_slot_has_no_plot_of_its_own_and_many_have_as_many_as_can_be_read() {
    let figures = |slots| {
        parsed(&estimates_page("plain", slots).html(), |root| {
            root.descendants().filter(|node| node.has_tag_name("figure")).count()
        })
    };
    assert_eq!((figures(1), figures(2), figures(24), figures(30)), (2, 4, 26, 26));
}
