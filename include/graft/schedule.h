/// How the learning rate moves through a run: PyTorch's schedulers, stepped after every batch, with a linear warm-up in
/// front of any of them.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include <graft/export.h>

namespace graft {

/// The optimiser's own rate throughout.
struct ConstantRate {};

/// Times `factor` after every `epochs` epochs (torch's StepLR).
struct StepDecay {
  std::int64_t epochs = 30;
  double factor = 0.1;
};

/// Half a cosine from the optimiser's rate down to `final_fraction` of it at the run's end (CosineAnnealingLR).
struct CosineDecay {
  double final_fraction = 0;
};

/// Up from 1/div of the optimiser's rate to all of it, then down to 1/final_div of where it began, both along a cosine
/// (OneCycleLR without cycling the momentum; Smith and Topin 2018, arXiv:1708.07120).
struct OneCycle {
  double pct_start = 0.3;  ///< part of the run that goes up
  double div = 25;
  double final_div = 1e4;
};

/// Times `factor` when the validation loss (without validation data the training loss) has not improved for `patience`
/// epochs. Torch numerics: ReduceLROnPlateau, relative threshold, reduces after patience + 1 epochs. Keras numerics:
/// its callback, absolute threshold, reduces after patience epochs.
struct ReduceOnPlateau {
  double factor = 0.1;
  std::int64_t patience = 10;
  double threshold = 1e-4;
  double min_rate = 0;
};

/// A warm-up, and what comes after it.
struct Schedule {
  std::variant<ConstantRate, StepDecay, CosineDecay, OneCycle, ReduceOnPlateau> decay = ConstantRate{};
  /// Batches over which the rate rises linearly to where `decay` begins (LinearLR, then SequentialLR).
  std::int64_t warmup_steps = 0;
  double warmup_start = 0.01;  ///< fraction of the rate at the first batch

  /// "constant", "step:EPOCHS[:FACTOR]", "cosine", "one-cycle" or "plateau[:PATIENCE]". Throws Error kConfig.
  static GRAFT_EXPORT Schedule parse(std::string_view text, std::int64_t warmup_steps = 0);
};

}  // namespace graft
