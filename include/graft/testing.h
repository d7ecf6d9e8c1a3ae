/// Tests for heads: one call checks what a head must do, on a small network made on the spot.
///
///     TEST(MyHead, Works) { EXPECT_TRUE(graft::check_head(my_head())); }           // GoogleTest
///     if (const auto report = graft::check_head(my_head()); !report) std::puts(report.text().c_str());
///
/// Nothing of GoogleTest is needed: a report turns into its AssertionResult where one is asked for.
/// Thread-safety: functions without state; safe everywhere.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include <graft/device.h>
#include <graft/export.h>
#include <graft/head.h>
#include <graft/model.h>

namespace graft {

/// A check that failed.
struct HeadFinding {
  std::string check;    ///< "gradients", "overfit"
  std::string seen;     ///< with numbers and names
  std::string look_at;  ///< what is usually the cause
};

/// What check_head found.
struct GRAFT_EXPORT HeadReport {
  std::vector<HeadFinding> findings;
  double first_loss = 0;    ///< of the batch to over-fit, before and
  double overfit_loss = 0;  ///< after its steps, in evaluation mode

  bool ok() const { return findings.empty(); }
  explicit operator bool() const { return ok(); }  ///< ok()
  /// A line for each finding, "check: seen; look at ..."; or that all is well.
  std::string text() const;

  /// testing::AssertionResult, with text() as its message.
  template <class Result>
    requires requires(const Result& result) {
      { result.failure_message() } -> std::convertible_to<const char*>;
    }
  operator Result() const {  // NOLINT(google-explicit-constructor): what EXPECT_TRUE asks for
    Result result(ok());
    result << text();
    return result;
  }
};

/// What a head is checked with.
struct HeadCheckOptions {
  /// What the cut yields for one picture: {C, H, W}, {T, C} or {C}.
  std::vector<std::int64_t> features = {16, 4, 4};
  std::vector<std::int64_t> batch_sizes = {1, 2, 5};
  std::int64_t outputs = 0;  ///< how many there must be; 0: any number
  Device device = {};        ///< the round trip goes there and back
  /// Random examples that are over-fitted with Adam; their loss must fall to this part of what it was at first.
  std::int64_t overfit_examples = 8;
  std::int64_t overfit_steps = 300;
  double learning_rate = 1e-2;
  double overfit_fraction = 0.25;
  std::uint64_t seed = 0;  ///< of pictures, targets and dropout
};

/// Puts the head behind a small frozen network and checks
///   build           replace_head takes it
///   output          [N, outputs] of finite float32 for each batch size; as many outputs as asked for
///   evaluation      the same answer twice; an example's answer does not depend on the others of its batch; no tensor
///   changes training        forward changes nothing but batch norm statistics; without randomness and batch norm the
///   answers are
///                   those of evaluation mode
///   gradients       reach every parameter of the head, and none that is frozen
///   overfit         a small batch can be learned by heart
///   frozen          what is frozen is the same, bit by bit, after those steps
///   save            the saved and loaded model answers the same, bit by bit, with the same tensors
///   device          so does the model after a journey to the device and back; on it, to 1e-3 of the largest answer
/// Checks that cannot be made because an earlier one failed are left out. Throws Error kConfig for options out of
/// range, kIo where the temporary folder cannot be written.
GRAFT_EXPORT HeadReport check_head(const Head& head, const HeadCheckOptions& options = {});

/// A network for tests: random weights, a convolution with batch norm and ReLU, then what makes `features` ({C, H, W},
/// {T, C} or {C}) of it, and a linear head "fc" with two classes, in whose place another is put by Cut::before("fc").
/// Takes pictures of 4 H by 4 W pixels (4 T by 4, 4 by 4). Throws Error kConfig for another number of sizes, or sizes
/// below 1.
GRAFT_EXPORT Model tiny_model(const std::vector<std::int64_t>& features = {16, 4, 4}, std::uint64_t seed = 0);

}  // namespace graft
