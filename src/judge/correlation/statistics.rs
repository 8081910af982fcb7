//! Ranks, coefficients, and how far they can be trusted.

/// The smallest latency that is told from none, in seconds: a logarithm needs one.
const INSTANT: f64 = 1e-6;
/// How many standard errors hold 95 %.
const NORMAL_95: f64 = 1.959_964;
/// How many standard errors one in a hundred is above.
pub(super) const ONE_PERCENT: f64 = 2.326_348;

/// How two series move together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Related {
    /// Of their ranks.
    pub(super) spearman: f64,
    /// With the logarithm of the first, where there is one.
    pub(super) pearson: Option<f64>,
    /// How many independent samples they amount to.
    pub(super) samples: f64,
}

/// Relates pairs in order of time: a latency in seconds, and a signal. `None` if either never changes.
pub(super) fn relate(pairs: &[(f64, f64)]) -> Option<Related> {
    let (measured, values): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let ranks = (ranks(&measured), ranks(&values));
    let spearman = pearson(&ranks.0, &ranks.1)?;
    let logarithms: Vec<_> = if measured.iter().any(|measured| *measured < 0.0) {
        // Changes have a sign, and no logarithm.
        measured
    } else {
        measured.iter().map(|one| one.max(INSTANT).ln()).collect()
    };
    Some(Related {
        spearman,
        pearson: pearson(&logarithms, &values),
        samples: effective(&ranks.0, &ranks.1),
    })
}

/// The changes from each pair to the next.
pub(super) fn differences(pairs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    pairs
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1))
        .collect()
}

impl Related {
    /// The standard error of Fisher's transform of a rank correlation: that of Fieller near 0, and of Bonett and
    /// Wright far from it.
    fn error(&self) -> f64 {
        let spearman = self.spearman;
        let variance = (1.0 + spearman * spearman / 2.0).max(1.06);
        (variance / (self.samples - 3.0).max(f64::EPSILON)).sqrt()
    }

    /// The probability of such a coefficient, or a stronger one, where there is no relation.
    pub(super) fn chance(&self) -> f64 {
        libm::erfc(transform(self.spearman).abs() / self.error() / std::f64::consts::SQRT_2)
    }

    /// The interval that holds the rank correlation with 95 % confidence.
    pub(super) fn interval(&self) -> [f64; 2] {
        let (center, half) = (transform(self.spearman), NORMAL_95 * self.error());
        [(center - half).tanh(), (center + half).tanh()]
    }
}

/// Fisher's transform, finite for perfect correlation too.
fn transform(coefficient: f64) -> f64 {
    const NEARLY_ONE: f64 = 1.0 - 1e-9;
    coefficient.clamp(-NEARLY_ONE, NEARLY_ONE).atanh()
}

/// By how many standard errors the slower half of the samples has more events than its share of the time explains (METHOD:
/// a Poisson background, with the dispersion that the counts themselves show). `None` where these are no counts over times.
pub(super) fn excess(measured: &[f64], times: &[f64], counts: &[Option<f64>]) -> Option<f64> {
    let mut samples: Vec<(f64, f64, f64)> = Vec::with_capacity(counts.len());
    for ((measured, time), count) in measured.iter().zip(times).zip(counts) {
        let Some(count) = *count else { continue };
        if !(count >= 0.0 && *time > 0.0 && time.is_finite()) {
            return None;
        }
        samples.push((*measured, *time, count));
    }
    samples.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sums = |samples: &[(f64, f64, f64)]| {
        let add = |sum: (f64, f64), one: &(f64, f64, f64)| (sum.0 + one.1, sum.1 + one.2);
        samples.iter().fold((0.0, 0.0), add)
    };
    let (time, events) = sums(&samples);
    let (slow_time, slow_events) = sums(&samples[samples.len().div_ceil(2)..]);
    let rate = events / time;
    let deviation =
        |(_, time, count): &(f64, f64, f64)| (count - rate * time).powi(2) / (rate * time);
    let freedom = float(samples.len().checked_sub(1)?);
    let dispersion = samples.iter().map(deviation).sum::<f64>() / freedom;
    let share = slow_time / time;
    let error = (events * share * (1.0 - share) * dispersion.max(1.0)).sqrt();
    let z = (slow_events - events * share) / error;
    z.is_finite().then_some(z)
}

/// By how much the second is larger on average in the half of the pairs whose first is larger, as a share of what that is larger by.
pub(super) fn part(pairs: &[(f64, f64)]) -> f64 {
    let mut pairs = pairs.to_vec();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (fast, slow) = pairs.split_at(pairs.len() / 2);
    let means = |half: &[(f64, f64)]| {
        let (first, second): (Vec<_>, Vec<_>) = half.iter().copied().unzip();
        (mean(&first), mean(&second))
    };
    let (fast, slow) = (means(fast), means(slow));
    (slow.1 - fast.1) / (slow.0 - fast.0)
}

/// The rank of each value, from 1; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<_> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut done = 0;
    for equal in order.chunk_by(|a, b| values[*a].total_cmp(&values[*b]).is_eq()) {
        let shared = f64::midpoint(float(done + 1), float(done + equal.len()));
        for at in equal {
            ranks[*at] = shared;
        }
        done += equal.len();
    }
    ranks
}

/// Pearson's correlation; `None` if either series never changes.
fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut only_a, mut only_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        both += a * b;
        only_a += a * a;
        only_b += b * b;
    }
    let coefficient = both / (only_a.sqrt() * only_b.sqrt());
    coefficient
        .is_finite()
        .then(|| coefficient.clamp(-1.0, 1.0))
}

/// How many independent samples two series amount to: fewer than they have where neighbours resemble each other.
fn effective(a: &[f64], b: &[f64]) -> f64 {
    let neighbours = |series: &[f64]| {
        let ends = series.len() - 1;
        let neighbours = pearson(&series[..ends], &series[1..]);
        // By chance alone it comes out too low in a short series (Kendall).
        let known = neighbours.unwrap_or_default();
        (known + (1.0 + 3.0 * known) / float(series.len())).clamp(-1.0, 1.0)
    };
    let both = neighbours(a) * neighbours(b);
    let count = float(a.len());
    (count * (1.0 - both) / (1.0 + both)).clamp(0.0, count)
}

/// How far apart the values lie, from the 10th to the 90th percentile.
pub(super) fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    sorted[last - last / 10] - sorted[last / 10]
}

/// `part` of `all`.
pub(super) fn share(part: usize, all: usize) -> f64 {
    float(part) / float(all)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / float(values.len())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a window has some hundred samples"
)]
fn float(count: usize) -> f64 {
    count as f64
}
