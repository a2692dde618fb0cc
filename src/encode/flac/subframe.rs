//! One channel of one block: how it is coded, and its bits (RFC 9639 section 9.2).
//!
//! Pure: samples to bits.
//!
//! A signal is surveyed first, which costs little and tells about how many bits it will take: that is
//! what channels are chosen by. Then it is planned: what the survey found good is carried out, and the
//! shortest of it is what is written. No plan is longer than the samples as they are.

use super::{
    bits::BitWriter,
    effort::{Effort, MAX_WINDOWS},
    fixed,
    linear::{Model, Predictor, Scratch},
    rice::Rice,
};

/// Most bits in front of the samples: the header, and wasted bits in unary.
const HEAD_BITS: usize = 8 + 32;

/// Most bytes of a channel whose samples have so many bits.
pub(super) const fn most_bits(samples: usize, depth: u32) -> usize {
    HEAD_BITS + samples * depth as usize
}

/// What a first look at a signal says.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    /// Zeros below every sample; they are cut off by now (RFC 9639 section 9.2.2).
    wasted: u32,
    /// Bits of a sample without them.
    depth: u32,
    is_constant: bool,
    fixed_order: usize,
    /// Bits that the best fixed predictor is expected to take.
    fixed_bits: f64,
    models: [Option<Model>; MAX_WINDOWS],
}

impl Survey {
    /// Bits that the signal is expected to take.
    pub(super) fn bits(&self, samples: usize) -> f64 {
        if self.is_constant {
            return f64::from(self.depth);
        }
        let plain = samples as f64 * f64::from(self.depth);
        let models = self.models.iter().flatten().map(|model| model.bits);
        models.fold(self.fixed_bits.min(plain), f64::min)
    }
}

/// How samples become bits.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// All are the first one.
    Constant,
    /// As they are.
    Verbatim,
    Fixed {
        order: usize,
    },
    Linear(Predictor),
}

impl Kind {
    /// Samples that go out as they are, in front of the residual.
    fn order(&self) -> usize {
        match self {
            Self::Constant | Self::Verbatim => 0,
            Self::Fixed { order } => *order,
            Self::Linear(predictor) => predictor.order,
        }
    }

    /// The six bits of the header.
    fn code(&self) -> u64 {
        match self {
            Self::Constant => 0,
            Self::Verbatim => 1,
            Self::Fixed { order } => 8 + *order as u64,
            Self::Linear(predictor) => 31 + predictor.order as u64,
        }
    }
}

/// A residual and its codes.
#[derive(Debug, Default)]
struct Coded {
    residual: Vec<u32>,
    rice: Rice,
}

/// How one signal is written.
#[derive(Debug)]
pub(super) struct Plan {
    kind: Kind,
    wasted: u32,
    depth: u32,
    coded: Coded,
    /// Bits of the whole subframe.
    bits: u64,
}

impl Plan {
    pub(super) fn new(block: usize) -> Self {
        let coded = Coded { residual: Vec::with_capacity(block), ..Coded::default() };
        Self { kind: Kind::Verbatim, wasted: 0, depth: 0, coded, bits: 0 }
    }

    /// Bits that [`write`](Self::write) will write.
    pub(super) fn bits(&self) -> u64 {
        self.bits
    }

    /// Writes the samples that this is the plan of.
    pub(super) fn write(&self, samples: &[i32], into: &mut BitWriter<'_>) {
        let before = into.bits();
        into.put(self.kind.code() << 1 | u64::from(self.wasted > 0), 8);
        if self.wasted > 0 {
            into.put_unary(self.wasted - 1);
        }
        let plain = match self.kind {
            Kind::Constant => 1,
            Kind::Verbatim => samples.len(),
            Kind::Fixed { .. } | Kind::Linear(_) => self.kind.order(),
        };
        for sample in &samples[..plain] {
            into.put_signed(*sample, self.depth);
        }
        if let Kind::Linear(predictor) = &self.kind {
            into.put(u64::from(predictor.precision - 1), 4);
            into.put_signed(predictor.shift as i32, 5);
            for coefficient in predictor.coefficients() {
                into.put_signed(*coefficient, predictor.precision);
            }
        }
        if let Kind::Fixed { .. } | Kind::Linear(_) = self.kind {
            self.coded.rice.write(&self.coded.residual, plain, into);
        }
        debug_assert_eq!(into.bits() - before, self.bits);
    }
}

/// Surveys and plans; holds the memory that both take.
pub(super) struct Planner {
    effort: Effort,
    scratch: Scratch,
    trial: Coded,
}

impl Planner {
    pub(super) fn new(effort: Effort, block: usize) -> Self {
        let trial = Coded { residual: Vec::with_capacity(block), ..Coded::default() };
        Self { effort, scratch: Scratch::new(block), trial }
    }

    /// Looks at a signal of so many bits, and cuts off its wasted ones.
    pub(super) fn survey(&mut self, samples: &mut [i32], bits: u32) -> Survey {
        let first = samples[0];
        let (ones, changes) = samples
            .iter()
            .fold((0, 0), |(ones, changes), sample| (ones | sample, changes | (sample ^ first)));
        // Silence is a constant zero without wasted bits.
        let wasted = if ones == 0 { 0 } else { ones.trailing_zeros() };
        if wasted > 0 {
            samples.iter_mut().for_each(|sample| *sample >>= wasted);
        }
        let depth = bits - wasted;
        let mut survey = Survey {
            wasted,
            depth,
            is_constant: changes == 0,
            fixed_order: 0,
            fixed_bits: 0.0,
            models: [None; MAX_WINDOWS],
        };
        if !survey.is_constant {
            let (order, mean) = fixed::best(samples);
            survey.fixed_order = order;
            survey.fixed_bits = fixed::expected_bits(mean, samples.len(), order, depth);
            self.look(samples, &mut survey);
        }
        survey
    }

    /// Computes the predictors that the effort has room for.
    fn look(&mut self, samples: &[i32], survey: &mut Survey) {
        let (all, half) = (samples.len(), samples.len() / 2);
        let windows = [0..all, 0..half, half..all];
        let windows = windows.into_iter().take(self.effort.windows);
        for (model, window) in survey.models.iter_mut().zip(windows) {
            *model = self.scratch.model(samples, window, self.effort.order, survey.depth);
        }
    }

    /// Plans a signal that was surveyed.
    pub(super) fn plan(&mut self, samples: &[i32], survey: &Survey, plan: &mut Plan) {
        let Survey { wasted, depth, .. } = *survey;
        let plain = if survey.is_constant { 1 } else { samples.len() as u64 };
        plan.kind = if survey.is_constant { Kind::Constant } else { Kind::Verbatim };
        (plan.wasted, plan.depth) = (wasted, depth);
        plan.bits = 8 + u64::from(wasted) + plain * u64::from(depth);
        if survey.is_constant {
            return;
        }
        for model in survey.models.iter().flatten() {
            let Some(predictor) = model.quantise(depth) else { continue };
            if self.scratch.residual(samples, &predictor, &mut self.trial.residual) {
                self.offer(plan, Kind::Linear(predictor));
            }
        }
        // Also where it is not expected to win: what a whole block is like says little of one that
        // changes, which has many partitions. Of the demo's strings it saves one in fifty.
        fixed::residual(samples, survey.fixed_order, &mut self.trial.residual);
        self.offer(plan, Kind::Fixed { order: survey.fixed_order });
    }

    /// Takes the residual at hand for the plan if it is shorter.
    fn offer(&mut self, plan: &mut Plan, kind: Kind) {
        let order = kind.order();
        self.trial.rice.fit(&self.trial.residual, order, self.effort.partition_order);
        let parameters = match &kind {
            Kind::Linear(predictor) => 4 + 5 + order as u64 * u64::from(predictor.precision),
            _ => 0,
        };
        let head = 8 + u64::from(plan.wasted) + order as u64 * u64::from(plan.depth);
        let bits = head + parameters + self.trial.rice.bits();
        if bits < plan.bits {
            (plan.kind, plan.bits) = (kind, bits);
            std::mem::swap(&mut plan.coded, &mut self.trial);
        }
    }
}
