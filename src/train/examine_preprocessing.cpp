#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/batch_norms.h"
#include "train/examinations.h"
#include "train/linear_probe.h"
#include "train/objective.h"
#include "train/sample.h"

namespace graft::train {

namespace {

// Measured with a ResNet50 on 32 photos of ants and bees, its batch norm statistics taken from 200 photos of ImageNet:
// the divergence (below) at the first batch norm is 0.05 with the right preprocessing, 0.13 with the colours in the
// wrong order, 0.37 with pixels in -1..1, 0.93 in 0..1, 1.8 scaled twice, 7e4 not scaled.
constexpr double kColourRatio = 2;  ///< by which another channel order has to be nearer
constexpr double kOtherRatio = 4;   ///< the same for another scale or normalisation
constexpr double kLeastDivergence = 0.1;

// How far a head's best answer stands above the mean of all, in their standard deviations: twice the pixels of a
// network without batch norm give twice the logits, so that a probability would only tell their size. Of a ResNet50 for
// 48 photos of ants and bees it is 6.3 with the right preprocessing, 5.5 with the colours in the wrong order (6.2
// standard errors of the difference) and in -1..1 (7.8), 4.8 in 0..1 and not scaled, 3.7 scaled twice; for photos of
// ImageNet's classes 6.1, 5.4 (4.9), 5.8 (3.8), 5.0, 4.9 and 3.7.
constexpr double kLeastGain = 0.08;  ///< as a part of the better one
constexpr double kLeastErrors = 3;   ///< standard errors that the gain has to be
constexpr double kAsGood = 0.02;     ///< as a part: the first of the alternatives that are as good is told

constexpr std::size_t kFirstLook = 24;   ///< pictures on which all alternatives are tried
constexpr std::size_t kSecondLook = 64;  ///< pictures on which the best of them is

struct Alternative {
  FindingCode code;
  std::string what;  ///< what is done otherwise
  Preprocessing preprocessing;
};

bool is_near(double a, double b) { return std::abs(a - b) <= 1e-3 * std::max(std::abs(a), std::abs(b)); }

bool gives_the_same(const Preprocessing& a, const Preprocessing& b) {
  bool same = a.channels == b.channels && is_near(a.scale, b.scale);
  for (std::size_t i = 0; i < 3; ++i) same = same && is_near(a.mean[i], b.mean[i]) && is_near(a.std[i], b.std[i]);
  return same;
}

std::string values_text(const Preprocessing& p) {
  const auto three = [](const std::array<double, 3>& values) {
    return number_text(values[0]) + ":" + number_text(values[1]) + ":" + number_text(values[2]);
  };
  return "channels=" + std::string(to_string(p.channels)) + ",scale=" + number_text(p.scale) +
         ",mean=" + three(p.mean) + ",std=" + three(p.std);
}

/// Geometry stays.
std::vector<Alternative> alternatives_to(const Preprocessing& now) {
  std::vector<Alternative> all;
  const auto add = [&](FindingCode code, std::string what, auto change) {
    Preprocessing next = now;
    change(next);
    const bool known =
        std::ranges::any_of(all, [&](const Alternative& other) { return gives_the_same(other.preprocessing, next); });
    if (!known && !gives_the_same(now, next)) all.push_back({code, std::move(what), next});
  };
  const auto other_order = now.channels == ChannelOrder::kRgb ? ChannelOrder::kBgr : ChannelOrder::kRgb;
  add(FindingCode::kChannelOrder, "the channels in " + std::string(to_string(other_order)) + " order",
      [&](Preprocessing& p) { p.channels = other_order; });
  add(FindingCode::kPixelScale, "pixels 255 times as large", [](Preprocessing& p) { p.scale *= 255; });
  add(FindingCode::kPixelScale, "pixels 255 times as small", [](Preprocessing& p) { p.scale /= 255; });
  for (const char* name : {"torch", "caffe", "tf", "rescale", "vgg_features"}) {
    const auto other = Preprocessing::by_name(name);
    add(FindingCode::kNormalization, "the normalization of \"" + std::string(name) + "\"", [&](Preprocessing& p) {
      p.channels = other.channels;
      p.scale = other.scale;
      p.mean = other.mean;
      p.std = other.std;
    });
  }
  return all;
}

/// Some pictures as the network would see them.
class Pictures {
 public:
  Pictures(const Patient& patient, const Dataset& data) {
    const Sample sample(data, kSecondLook);
    const Readable readable(sample);
    Preprocessing plain = patient.model.preprocessing();  // its geometry alone
    plain.channels = ChannelOrder::kRgb;
    plain.scale = 1;
    plain.mean = {0, 0, 0};
    plain.std = {1, 1, 1};
    DataLoader loader(readable, plain,
                      {.batch_size = static_cast<std::int64_t>(kSecondLook), .threads = patient.fit.loader_threads});
    const auto batch = loader.next();
    // Not the first ones: data sets are often sorted by class.
    const auto stride = batch->size() % kStride == 0 ? 1 : kStride;
    const auto order = at::arange(batch->size()).mul(stride).remainder(batch->size());
    pixels_ = batch->images.index_select(0, order).contiguous(at::MemoryFormat::ChannelsLast);
    labels_ = batch->labels.index_select(0, order);
  }

  std::int64_t size() const { return pixels_.size(0); }
  const at::Tensor& labels() const { return labels_; }
  at::Tensor inputs(const Preprocessing& p, std::int64_t count) const {
    const auto channel_values = [](const std::array<double, 3>& values) {
      return at::tensor(at::ArrayRef<double>(values), at::kFloat).view({1, 3, 1, 1});
    };
    auto pixels = pixels_.narrow(0, 0, std::min(count, size()));
    if (p.channels == ChannelOrder::kBgr) pixels = pixels.flip(1);
    return ((pixels * p.scale - channel_values(p.mean)) / channel_values(p.std))
        .contiguous(at::MemoryFormat::ChannelsLast);
  }

 private:
  static constexpr std::int64_t kStride = 37;  ///< a prime: all places come, of any number that it does not divide
  at::Tensor pixels_, labels_;
};

/// Mean over the channels of the Kullback-Leibler divergence of two normal distributions: what comes into a batch norm
/// from what it remembers.
double divergence(const model::BatchNorm& norm, const at::Tensor& input) {
  constexpr double kEpsilon = 1e-5;  // batch norm's own
  std::vector<std::int64_t> over{0};
  for (std::int64_t dim = 2; dim < input.dim(); ++dim) over.push_back(dim);
  const auto [variance, mean] = at::var_mean(input.to(at::kCPU), over, /*unbiased=*/false);
  const auto remembered = norm.variance.to(at::kCPU) + kEpsilon;
  const auto ratio = (variance + kEpsilon) / remembered;
  const auto each = 0.5 * (ratio + (mean - norm.mean.to(at::kCPU)).square() / remembered - 1 - ratio.log());
  return each.mean().item<double>();
}

/// By the statistics of the first batch norm; nothing where there are none.
class ByStatistics {
 public:
  static std::optional<ByStatistics> of(const Patient& patient) {
    const auto norms = model::batch_norms_of(patient.model);
    if (norms.empty() || norms.front().has_default_statistics()) return std::nullopt;
    return ByStatistics(patient, norms.front());
  }

  double operator()(const Pictures& pictures, const Preprocessing& p) const {
    return divergence(norm_, given_(pictures.inputs(p, kFirstLook)));
  }
  const std::string& layer() const { return norm_.layer; }

 private:
  ByStatistics(const Patient& patient, model::BatchNorm norm)
      : norm_(std::move(norm)), given_(patient.model, norm_.layer) {}
  model::BatchNorm norm_;
  model::InputOf given_;
};

class ByHead {
 public:
  /// Nothing where the head has learned nothing of these pictures.
  static std::optional<ByHead> of(const Patient& patient, const Dataset& data) {
    const auto& model = patient.model;
    if (!Objective(model.tasks(), 0).is_plain()) return std::nullopt;
    const bool same_classes = std::ranges::equal(model.labels(), data.classes(), {}, &Label::id);
    if (!same_classes && model.inspect().head_kind != "original") return std::nullopt;
    return ByHead(patient, same_classes);
  }

  /// [count]: how far the right class, where its classes are the data's, else the best, stands above the mean of all.
  at::Tensor operator()(const Pictures& pictures, const Preprocessing& p, std::size_t count) const {
    const auto batch = static_cast<std::int64_t>(kFirstLook);
    std::vector<at::Tensor> parts;
    for (const auto& part : pictures.inputs(p, static_cast<std::int64_t>(count)).split(batch))
      parts.push_back(patient_.model.forward(part, Precision::kAuto).to(at::kCPU, at::kDouble));
    const auto logits = at::cat(parts);
    const auto rows = pictures.labels().narrow(0, 0, logits.size(0)).unsqueeze(1);
    const auto answers = knows_classes_ ? logits.gather(1, rows).squeeze(1) : logits.amax(1);
    const auto [deviation, mean] = at::std_mean(logits, /*dim=*/1, /*unbiased=*/false);
    return (answers - mean) / deviation.clamp_min(1e-12);
  }
  bool knows_classes() const { return knows_classes_; }
  std::string what() const { return knows_classes_ ? "the right class" : "the network's first answer"; }

 private:
  ByHead(const Patient& patient, bool knows) : patient_(patient), knows_classes_(knows) {}
  const Patient& patient_;
  bool knows_classes_;
};

double average(const at::Tensor& values) { return values.mean().item<double>(); }

/// Whether pictures are clearly answered better with `other`.
bool is_better(const at::Tensor& now, const at::Tensor& other) {
  const auto gain = other - now;
  const double error = gain.std().item<double>() / std::sqrt(static_cast<double>(gain.numel()));
  return average(gain) > 0 && average(gain) >= kLeastGain * average(other) && average(gain) >= kLeastErrors * error;
}

/// An alternative, and a number for each picture now and with it.
struct Comparison {
  Alternative best;
  at::Tensor with_now, with_best;
};

/// The first of the alternatives that are about as good as the best: it changes least. Nothing if all are worse than
/// now. `answers(preprocessing)` yields a number for each picture.
template <class Answers>
std::optional<Comparison> best_alternative(const Preprocessing& now, const Answers& answers) {
  auto all = alternatives_to(now);
  std::vector<at::Tensor> found;
  for (const auto& alternative : all) found.push_back(answers(alternative.preprocessing));
  const double most = average(*std::ranges::max_element(found, {}, average));
  auto with_now = answers(now);
  if (!std::isfinite(most) || !(most > average(with_now))) return std::nullopt;
  const double enough = most - kAsGood * std::abs(most);  // the numbers may be negative
  const auto first = std::ranges::find_if(found, [&](const at::Tensor& each) { return average(each) >= enough; });
  return Comparison{all[static_cast<std::size_t>(first - found.begin())], std::move(with_now), *first};
}

Finding finding(const Preprocessing& now, const Alternative& better, std::string seen) {
  return {better.code, Severity::kError, "preprocessing", std::move(seen),
          "give the pictures to the network as it was trained: " + values_text(better.preprocessing) + " instead of " +
              values_text(now)};
}

std::optional<Finding> judged_by(const ByStatistics& statistics, const std::optional<ByHead>& head,
                                 const Pictures& pictures, const Preprocessing& now) {
  const double current = statistics(pictures, now);
  if (current < kLeastDivergence) return std::nullopt;
  std::optional<Alternative> best;
  double least = current;
  for (const auto& alternative : alternatives_to(now)) {
    const double found = statistics(pictures, alternative.preprocessing);
    const double ratio = alternative.code == FindingCode::kChannelOrder ? kColourRatio : kOtherRatio;
    if (found * ratio > current || found >= least) continue;
    best = alternative;
    least = found;
  }
  if (!best) return std::nullopt;
  if (head && average((*head)(pictures, best->preprocessing, kFirstLook)) < average((*head)(pictures, now, kFirstLook)))
    return std::nullopt;
  return finding(now, *best,
                 "what comes into " + statistics.layer() + " differs from the statistics it was trained with by " +
                     number_text(current) + " nats, and by " + number_text(least) + " with " + best->what);
}

std::optional<Finding> judged_by(const ByHead& head, const Pictures& pictures, const Preprocessing& now) {
  const auto compared = best_alternative(now, [&](const Preprocessing& p) { return head(pictures, p, kFirstLook); });
  if (!compared) return std::nullopt;
  const auto& best = compared->best;
  const auto with_now = head(pictures, now, kSecondLook), with_best = head(pictures, best.preprocessing, kSecondLook);
  if (!is_better(with_now, with_best)) return std::nullopt;
  return finding(now, best,
                 head.what() + " stands " + number_text(average(with_now)) +
                     " standard deviations above the mean of all classes, and " + number_text(average(with_best)) +
                     " with " + best.what + " (" + std::to_string(with_now.numel()) + " pictures)");
}

/// By how well a linear classifier on the features names pictures it has not seen.
std::optional<Finding> judged_by_probe(const Patient& patient, const Dataset& data, const Pictures& pictures,
                                       const Preprocessing& now) {
  const auto right = [&](const Preprocessing& p) {
    std::vector<at::Tensor> parts;
    for (const auto& part : pictures.inputs(p, pictures.size()).split(static_cast<std::int64_t>(kFirstLook)))
      parts.push_back(patient.model.embed(part));
    const LinearProbe probe(at::cat(parts), pictures.labels(), std::ssize(data.classes()));
    return probe.held_out().argmax(1).eq(pictures.labels()).to(at::kDouble);
  };
  const auto compared = best_alternative(now, right);
  if (!compared || !is_better(compared->with_now, compared->with_best)) return std::nullopt;
  return finding(now, compared->best,
                 "a linear classifier on the frozen features names " + number_text(average(compared->with_now) * 100) +
                     " % of " + std::to_string(pictures.size()) + " pictures, and " +
                     number_text(average(compared->with_best) * 100) + " % with " + compared->best.what);
}

}  // namespace

Diagnosis examine_preprocessing(const Patient& patient, const Dataset& data) {
  const at::NoGradGuard no_grad;
  Diagnosis diagnosis;
  const Pictures pictures(patient, data);
  const auto& now = patient.model.preprocessing();
  const auto head = ByHead::of(patient, data);
  std::optional<Finding> found;
  const auto statistics = ByStatistics::of(patient);
  if (!statistics && !head && !Objective(patient.model.tasks(), 0).is_plain()) return diagnosis;
  if (statistics) found = judged_by(*statistics, head, pictures, now);
  if (!found && head && (!statistics || head->knows_classes())) found = judged_by(*head, pictures, now);
  if (!statistics && !head) found = judged_by_probe(patient, data, pictures, now);
  if (found) diagnosis.findings.push_back(*std::move(found));
  add_checked(diagnosis, {FindingCode::kChannelOrder, FindingCode::kPixelScale, FindingCode::kNormalization});
  return diagnosis;
}

}  // namespace graft::train
