//! Charts: the points of a series as SVG, with the numbers beside the picture and in a table. Pure: equal points give
//! equal pictures.

use super::parts::Moment;
use super::text::amount;
use api::resources::series::{Point, SeriesPoints};
use askama::Template;
use std::fmt::Write;

/// Width and height of a picture in its own units; the page scales it.
const WIDTH: i64 = 600;
const HEIGHT: i64 = 64;
/// The minimum height of a bar whose value is not zero.
const LEAST: i64 = 2;
/// Share of each bar's width that stays empty, in percent.
const GAP: i64 = 20;

/// Entry of a series in the legend.
#[derive(Debug, PartialEq, Eq)]
struct LegendEntry {
    tone: &'static str,
    name: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
struct Shape {
    tone: &'static str,
    path: String,
}

#[derive(Debug, Template)]
#[template(path = "parts/chart.html")]
pub struct Chart {
    id: &'static str,
    title: &'static str,
    numbers: String,
    legend: Vec<LegendEntry>,
    /// Value at the top of the chart; empty if all values are zero.
    most: String,
    shapes: Vec<Shape>,
    columns: Vec<&'static str>,
    rows: Vec<(Moment, Vec<String>)>,
}

/// A small chart without a table, for a row of a list.
#[derive(Debug, Template)]
#[template(path = "parts/spark.html")]
pub struct Spark {
    numbers: String,
    shapes: Vec<Shape>,
}

/// One series in a chart of counts.
pub struct Counted<'a> {
    pub name: &'static str,
    pub tone: &'static str,
    pub points: &'a SeriesPoints,
}

impl Chart {
    /// Returns a chart of the counts in each step, stacked.
    pub fn counts(id: &'static str, title: &'static str, all: &[Counted<'_>]) -> Self {
        let values = |at: usize| {
            all.iter()
                .map(move |one| one.points.items.get(at).map_or(0, |point| point.count))
        };
        let steps = all.first().map_or(&[][..], |one| &one.points.items);
        let filled = steps
            .iter()
            .enumerate()
            .filter(|(at, _)| values(*at).any(|count| count > 0));
        let rows = filled.map(|(at, point)| {
            (
                Moment::at(point.at),
                values(at).map(|count| count.to_string()).collect(),
            )
        });
        Self {
            id,
            title,
            numbers: sums(all),
            legend: all
                .iter()
                .map(|one| LegendEntry {
                    tone: one.tone,
                    name: one.name,
                })
                .collect(),
            most: Some(highest(all))
                .filter(|most| *most > 0)
                .map_or_else(String::new, amount),
            shapes: stacked(all),
            columns: all.iter().map(|one| one.name).collect(),
            rows: rows.rev().collect(),
        }
    }

    /// Returns a chart of durations: the maximum in each step, with the average in front of it.
    pub fn times(id: &'static str, title: &'static str, series: &SeriesPoints) -> Self {
        let of = |pick: fn(&Point) -> Option<i64>| {
            series
                .items
                .iter()
                .map(|point| pick(point).unwrap_or(0))
                .collect()
        };
        let (longest, average): (Vec<i64>, Vec<i64>) =
            (of(|point| point.longest_ms), of(|point| point.average_ms));
        let most = longest.iter().copied().max().unwrap_or(0);
        let bars = |values: &[i64]| path(values.iter().map(|value| (0, scaled(*value, most))));
        let filled = series.items.iter().filter(|point| point.count > 0);
        let shown = |ms: Option<i64>| ms.map_or_else(String::new, duration);
        let row = |point: &Point| {
            (
                Moment::at(point.at),
                vec![
                    point.count.to_string(),
                    shown(point.average_ms),
                    shown(point.longest_ms),
                ],
            )
        };
        let (count, total) = filled.clone().fold((0, 0), |(count, total), point| {
            (
                count + point.count,
                total + point.count * point.average_ms.unwrap_or(0),
            )
        });
        let numbers = match count {
            0 => "none in the last hour".to_owned(),
            count => format!("avg {} · max {}", duration(total / count), duration(most)),
        };
        Self {
            id,
            title,
            numbers,
            legend: vec![
                LegendEntry {
                    tone: "busy",
                    name: "average",
                },
                LegendEntry {
                    tone: "longest",
                    name: "longest",
                },
            ],
            most: if count > 0 {
                duration(most)
            } else {
                String::new()
            },
            shapes: vec![
                Shape {
                    tone: "longest",
                    path: bars(&longest),
                },
                Shape {
                    tone: "busy",
                    path: bars(&average),
                },
            ],
            columns: vec!["number", "average", "longest"],
            rows: filled.map(row).rev().collect(),
        }
    }
}

impl Spark {
    /// Returns a small chart of the counts in each step, stacked.
    pub fn counts(all: &[Counted<'_>]) -> Self {
        Self {
            numbers: sums(all),
            shapes: stacked(all),
        }
    }
}

/// Returns the totals of the series as text.
fn sums(all: &[Counted<'_>]) -> String {
    let sum = |one: &Counted<'_>| {
        let total: i64 = one.points.items.iter().map(|point| point.count).sum();
        let name = if total == 1 {
            one.name.trim_end_matches('s')
        } else {
            one.name
        };
        format!("{} {name}", amount(total))
    };
    format!(
        "{} in the last hour",
        all.iter().map(sum).collect::<Vec<_>>().join(", ")
    )
}

fn steps(all: &[Counted<'_>]) -> usize {
    all.iter()
        .map(|one| one.points.items.len())
        .max()
        .unwrap_or(0)
}

fn count(one: &Counted<'_>, at: usize) -> i64 {
    one.points.items.get(at).map_or(0, |point| point.count)
}

/// Returns the highest total of all series in one step.
fn highest(all: &[Counted<'_>]) -> i64 {
    let total = |at: usize| all.iter().map(|one| count(one, at)).sum();
    (0..steps(all)).map(total).max().unwrap_or(0)
}

/// Returns the bars of each series, stacked in the order of the series from bottom to top.
fn stacked(all: &[Counted<'_>]) -> Vec<Shape> {
    let (steps, most) = (steps(all), highest(all));
    let mut heights = vec![0; steps];
    let mut shape = |one: &Counted<'_>| {
        let bars: Vec<(i64, i64)> = (0..steps)
            .map(|at| {
                let (below, height) = (heights[at], scaled(count(one, at), most));
                heights[at] += height;
                (below, height)
            })
            .collect();
        Shape {
            tone: one.tone,
            path: path(bars.into_iter()),
        }
    };
    all.iter().map(&mut shape).collect()
}

/// Returns the height of a value, scaled so that the highest value fills the picture.
fn scaled(value: i64, most: i64) -> i64 {
    if value <= 0 || most <= 0 {
        0
    } else {
        (value.saturating_mul(HEIGHT) / most).clamp(LEAST, HEIGHT)
    }
}

/// Draws bars side by side as one path. Each bar has the height at which it begins, and its own height.
fn path(bars: impl ExactSizeIterator<Item = (i64, i64)>) -> String {
    let count = i64::try_from(bars.len()).unwrap_or(1).max(1);
    let place = WIDTH * 100 / count;
    let (width, mut text) = (place * (100 - GAP) / 10_000, String::new());
    for (number, (from, height)) in (0..).zip(bars).filter(|(_, (_, height))| *height > 0) {
        let (left, bottom) = (number * place / 100, HEIGHT - from);
        // Writing to a string cannot fail.
        let _ = write!(text, "M{left} {bottom}v-{height}h{width}v{height}z");
    }
    text
}

/// Formats milliseconds for display.
pub fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;
    use proptest::prelude::*;
    use storage::Series;

    fn series(counts: &[i64]) -> SeriesPoints {
        let point = |(minute, count): (i64, &i64)| Point {
            at: Timestamp::from_micros(minute * 60_000_000),
            count: *count,
            average_ms: (*count > 0).then_some(count * 10),
            longest_ms: (*count > 0).then_some(count * 20),
        };
        SeriesPoints {
            what: Series::Accepted,
            step: 60,
            items: (0..).zip(counts).map(point).collect(),
        }
    }

    fn counted<'a>(name: &'static str, points: &'a SeriesPoints) -> Counted<'a> {
        Counted {
            name,
            tone: "good",
            points,
        }
    }

    #[test]
    fn numbers_stand_beside_the_picture_and_in_the_table() {
        let (good, bad) = (series(&[0, 4, 0]), series(&[0, 1, 2]));
        let chart = Chart::counts(
            "a",
            "A",
            &[
                counted("delivered", &good),
                counted("failed attempts", &bad),
            ],
        );
        assert_eq!(
            chart.numbers,
            "4 delivered, 3 failed attempts in the last hour"
        );
        assert_eq!(
            sums(&[counted("failed attempts", &series(&[0, 1]))]),
            "1 failed attempt in the last hour"
        );
        assert_eq!(chart.most, "5", "the highest sum of a step");
        assert_eq!(
            chart.legend.iter().map(|key| key.name).collect::<Vec<_>>(),
            ["delivered", "failed attempts"]
        );
        let rows: Vec<_> = chart
            .rows
            .iter()
            .map(|(_, values)| values.join(" "))
            .collect();
        assert_eq!(
            rows,
            ["0 2", "4 1"],
            "the newest first, empty ones left out"
        );
        assert_eq!(chart.shapes[0].path, "M200 64v-51h160v51z");
        assert_eq!(
            chart.shapes[1].path, "M200 13v-12h160v12zM400 64v-25h160v25z",
            "failures stand on deliveries"
        );
    }

    #[test]
    fn times_have_an_average_and_a_longest() {
        let chart = Chart::times("a", "A", &series(&[1, 0, 3]));
        assert_eq!(
            (chart.numbers.as_str(), chart.most.as_str()),
            ("avg 25 ms · max 60 ms", "60 ms")
        );
        let empty = Chart::times("a", "A", &series(&[0]));
        assert_eq!(
            (empty.numbers.as_str(), empty.most.as_str()),
            ("none in the last hour", "")
        );
        let texts = [999, 1_000, 59_999, 61_000].map(duration);
        assert_eq!(texts, ["999 ms", "1.0 s", "59.9 s", "1 min 1 s"]);
    }

    proptest! {
        /// For any counts, the bars stay within the picture, and each count that is not zero has a bar.
        #[test]
        fn bars_stay_in_the_picture(counts in prop::collection::vec((0_i64..1_000_000_000, 0_i64..1_000), 1..120)) {
            let (good, bad): (Vec<i64>, Vec<i64>) = counts.into_iter().unzip();
            let (goods, bads) = (series(&good), series(&bad));
            let shapes = stacked(&[counted("good", &goods), counted("bad", &bads)]);
            for (shape, values) in shapes.iter().zip([&good, &bad]) {
                prop_assert_eq!(shape.path.matches('M').count(), values.iter().filter(|value| **value > 0).count());
                for bar in shape.path.split('M').skip(1) {
                    let (place, rest) = bar.split_once('v').unwrap();
                    let (left, bottom) = place.split_once(' ').unwrap();
                    let height: i64 = rest.split_once('h').unwrap().0.trim_start_matches('-').parse().unwrap();
                    let (left, bottom): (i64, i64) = (left.parse().unwrap(), bottom.parse().unwrap());
                    // A bar of minimum height may stand on a full bar.
                    prop_assert!((0..WIDTH).contains(&left) && bottom <= HEIGHT && bottom - height >= -LEAST);
                }
            }
        }
    }
}
