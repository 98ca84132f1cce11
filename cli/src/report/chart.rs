//! Charts over time, as SVG.

use std::fmt::Write;

use super::data::Moment;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 80.0;
const BOTTOM: f64 = 24.0;

/// A line of a chart: its name, its class in the style sheet, and its value at a moment.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) value: fn(&Moment) -> u64,
}

/// Draws series over time. Stacked series are added up, the first at the bottom.
pub(super) fn draw(moments: &[Moment], series: &[Series], stacked: bool, unit: &str) -> String {
    let Some(last) = moments.last() else {
        return "<p>The run was too short to be sampled.</p>".to_owned();
    };
    let top_of = |moment: &Moment| {
        let values = series.iter().map(|series| (series.value)(moment));
        if stacked {
            values.sum::<u64>()
        } else {
            values.max().unwrap_or(0)
        }
    };
    let most = moments.iter().map(top_of).max().unwrap_or(0).max(1);
    let frame = Frame {
        time: last.ms.max(1) as f64,
        most: most as f64,
    };

    let mut svg = format!("<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>");
    frame.axes(&mut svg, most, last.ms, unit);
    let mut below = vec![0u64; moments.len()];
    for series in series {
        let values: Vec<u64> = moments
            .iter()
            .zip(&below)
            .map(|(moment, below)| (series.value)(moment) + if stacked { *below } else { 0 })
            .collect();
        frame.series(
            &mut svg,
            moments,
            &values,
            stacked.then_some(below.as_slice()),
            series,
        );
        below = values;
    }
    svg.push_str("</svg>");
    svg
}

struct Frame {
    time: f64,
    most: f64,
}

impl Frame {
    fn x(&self, ms: u64) -> f64 {
        LEFT + (WIDTH - LEFT - 8.0) * ms as f64 / self.time
    }

    fn y(&self, value: u64) -> f64 {
        (HEIGHT - BOTTOM) - (HEIGHT - BOTTOM - 10.0) * value as f64 / self.most
    }

    fn axes(&self, svg: &mut String, most: u64, ms: u64, unit: &str) {
        for part in 0..=4 {
            let value = most * part / 4;
            let y = self.y(value);
            let right = WIDTH - 8.0;
            put(
                svg,
                format_args!("<line class='grid' x1='{LEFT}' y1='{y:.1}' x2='{right}' y2='{y:.1}'/>"),
            );
            let x = LEFT - 6.0;
            let base = y + 4.0;
            put(
                svg,
                format_args!("<text x='{x}' y='{base:.1}' text-anchor='end'>{value} {unit}</text>"),
            );
        }
        for part in 0..=4 {
            let at = ms * part / 4;
            let (x, y) = (self.x(at), HEIGHT - 6.0);
            put(
                svg,
                format_args!("<text x='{x:.1}' y='{y}' text-anchor='middle'>{at} ms</text>"),
            );
        }
    }

    /// A line, or the band between it and what lies `below`.
    fn series(
        &self,
        svg: &mut String,
        moments: &[Moment],
        values: &[u64],
        below: Option<&[u64]>,
        series: &Series,
    ) {
        let mut path = String::new();
        for (moment, value) in moments.iter().zip(values) {
            put(
                &mut path,
                format_args!("{:.1},{:.1} ", self.x(moment.ms), self.y(*value)),
            );
        }
        let shape = match below {
            None => "polyline",
            Some(below) => {
                for (moment, value) in moments.iter().zip(below).rev() {
                    put(
                        &mut path,
                        format_args!("{:.1},{:.1} ", self.x(moment.ms), self.y(*value)),
                    );
                }
                "polygon"
            }
        };
        let (class, name) = (series.class, series.name);
        put(
            svg,
            format_args!("<{shape} class='{class}' points='{path}'><title>{name}</title></{shape}>"),
        );
    }
}

/// Writing into a `String` cannot fail.
pub(super) fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _fits = out.write_fmt(text);
}
