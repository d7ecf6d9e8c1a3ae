#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <variant>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/batch_norms.h"
#include "train/examinations.h"
#include "train/kept_model.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/parameter_groups.h"
#include "train/sample.h"

namespace graft::train {

namespace {

/// Change of a pretrained weight in one step, as a part of its size: what is usual (Stanford's CS231n, "Neural Networks
/// Part 3", "Ratio of weights:updates"), and what is told.
constexpr double kUsualUpdate = 0.001, kMostUpdate = 10 * kUsualUpdate;
/// Fewest examples in a batch of batch norm: below it the error of a network rises steeply (Wu and He 2018,
/// arXiv:1803.08494, figure 1).
constexpr std::int64_t kSmallestBatch = 8;
/// Part of ln(classes) that the loss of an untrained head is above. One layer's random answers give about 1.
constexpr double kUntrainedLoss = 0.8;
constexpr std::size_t kSample = 64;

/// Mean cross-entropy over some pictures; nothing where the model's outputs are no classes of the data.
std::optional<double> loss_on_sample(const Patient& patient, const Dataset& data) {
  const Objective objective(patient.model.tasks(), 0);
  if (!objective.is_plain() || patient.model.num_classes() != std::ssize(data.classes())) return std::nullopt;
  const Sample sample(data, kSample);
  const Readable readable(sample);
  DataLoader loader(
      readable, patient.model.input(),
      {.batch_size = patient.fit.batch_size, .threads = patient.fit.loader_threads, .device = patient.model.device()});
  double sum = 0;
  std::int64_t count = 0;
  while (const auto batch = loader.next()) {
    const auto logits = patient.model.forward(batch->images, patient.trainer.precision).to(at::kCPU);
    sum += objective.loss(logits, batch->labels).item<double>() * static_cast<double>(batch->size());
    count += batch->size();
  }
  return sum / static_cast<double>(count);
}

void look_for_frozen_head(const Patient& patient, const Dataset& train, Diagnosis& diagnosis) {
  std::vector<std::string> frozen;
  for (const auto& [name, tensor] : patient.model.named_parameters())
    if (is_in_head(patient.model, name) && !tensor.requires_grad()) frozen.push_back(name);
  if (frozen.empty()) return;
  const auto loss = loss_on_sample(patient, train);
  const double chance = std::log(static_cast<double>(patient.model.num_classes()));
  if (!loss || *loss < kUntrainedLoss * chance) return;
  diagnosis.findings.push_back({FindingCode::kFrozenHead, Severity::kError, patient.model.head_name(),
                                std::to_string(frozen.size()) + " parameters of the head are frozen (" +
                                    some_of(frozen) +
                                    "), and it has learned nothing yet: its loss on the training data is " +
                                    number_text(*loss) + ", where guessing gives ln(classes) = " + number_text(chance),
                                "unfreeze the head: layers with random weights have to train"});
}

/// The rate at which the fastest pretrained tensor trains, as the optimiser counts it.
void look_at_backbone_rate(const Patient& patient, const Phase& phase, Diagnosis& diagnosis) {
  if (std::holds_alternative<Sgd>(patient.trainer.optimizer)) return;  // its steps go by the gradients' size
  const double rate =
      Optimizer::create(patient.trainer.optimizer, patient.trainer.numerics, {})->learning_rate() * phase.rate;
  const auto groups =
      group_parameters(patient.model, patient.trainer, phase.layer_decay.value_or(patient.trainer.layer_decay));
  Changes updates;
  std::size_t tensors = 0;
  for (const auto& parameter : groups.parameters) {
    const double size = parameter.tensor.detach().square().mean().sqrt().item<double>();
    if (is_in_head(patient.model, parameter.name) || size == 0) continue;
    updates.add(kind_of(parameter.name, parameter.tensor), rate * parameter.rate / size);
    ++tensors;
  }
  const double update = updates.of_layers();
  if (update <= kMostUpdate) return;
  diagnosis.findings.push_back(
      {FindingCode::kBackboneLearningRate, Severity::kError, "backbone",
       std::to_string(tensors) + " pretrained parameters would train at a rate of " + number_text(rate) +
           ": one step changes the middle one of them by " + number_text(update * 100) +
           " % of its size, where a tenth of a percent is usual; a few steps destroy what was "
           "learned",
       "train the head alone first (--freeze all), then these layers at a rate of about " +
           number_text(rate * kUsualUpdate / update) + ", or with rates that fall towards the input (--layer-decay)"});
}

/// By layer, whether all parameters of the layer with parameters that runs before it are frozen.
bool follows_frozen(const std::vector<LayerInfo>& layers, const std::vector<model::BatchNorm>& norms,
                    const std::string& norm) {
  const LayerInfo* before = nullptr;
  for (const auto& layer : layers) {
    if (layer.name == norm) break;
    const bool is_norm = std::ranges::find(norms, layer.name, &model::BatchNorm::layer) != norms.end();
    const bool is_around = norm.starts_with(layer.name + ".");
    if (layer.parameters > 0 && !is_norm && !is_around) before = &layer;
  }
  return before && before->trainable == 0;
}

void look_at_batch_norms(const Patient& patient, const Dataset& train, Diagnosis& diagnosis) {
  const auto norms = model::batch_norms_of(patient.model);
  const auto layers = patient.model.inspect().layers;
  std::vector<std::string> in_frozen, folded, training;
  for (const auto& norm : norms) {
    if (!norm.trains || is_in_head(patient.model, norm.layer)) continue;
    training.push_back(norm.layer);
    if (follows_frozen(layers, norms, norm.layer)) in_frozen.push_back(norm.layer);
    if (norm.has_default_statistics() && !norm.is_new()) folded.push_back(norm.layer);
  }
  const std::string of_all = " of " + std::to_string(norms.size()) + " batch norms ";
  if (!in_frozen.empty())
    diagnosis.findings.push_back({FindingCode::kBatchNormInFrozenTrunk, Severity::kError, in_frozen.front(),
                                  std::to_string(in_frozen.size()) + of_all +
                                      "use each batch's statistics and change their own, while the layers before them "
                                      "are frozen (" +
                                      some_of(in_frozen) + ")",
                                  "let batch norm follow what is frozen (--bn follow), or rest (--bn inference)"});
  if (!folded.empty())
    diagnosis.findings.push_back(
        {FindingCode::kBatchNormWithoutStatistics, Severity::kError, folded.front(),
         std::to_string(folded.size()) + of_all +
             "would train whose mean is 0 and variance 1 although they have been trained: they "
             "were saved folded, and answer otherwise with a batch's statistics (" +
             some_of(folded) + ")",
         "leave them in inference mode (--bn inference)"});
  const auto batch = std::min(patient.fit.batch_size, static_cast<std::int64_t>(train.size()));
  if (!training.empty() && batch < kSmallestBatch)
    diagnosis.findings.push_back({FindingCode::kBatchNormSmallBatch, Severity::kWarning, training.front(),
                                  std::to_string(training.size()) + of_all + "train on batches of " +
                                      std::to_string(batch) + ": too few for a mean and a variance",
                                  "use batches of at least " + std::to_string(kSmallestBatch) +
                                      ", or leave batch norm in inference mode (--bn inference)"});
}

/// A fault that several phases have is one.
void keep_the_first_of_each(std::vector<Finding>& findings) {
  std::set<FindingCode> known;
  std::erase_if(findings, [&](const Finding& finding) { return !known.insert(finding.code).second; });
}

void examine_phase(const Patient& patient, const Dataset& train, const Phase& phase, Diagnosis& diagnosis) {
  const bool trains = !patient.model.trainable_parameters().empty();
  if (!trains) {
    diagnosis.findings.push_back({FindingCode::kNothingTrainable, Severity::kError, "model",
                                  "all " + std::to_string(patient.model.named_parameters().size()) +
                                      " parameters are frozen: training changes nothing",
                                  "unfreeze the head, or give the model a new one"});
  }
  look_for_frozen_head(patient, train, diagnosis);
  if (trains) look_at_backbone_rate(patient, phase, diagnosis);
  look_at_batch_norms(patient, train, diagnosis);
}

}  // namespace

Diagnosis examine_model(const Patient& patient, const Dataset& train) {
  const at::NoGradGuard no_grad;
  Diagnosis diagnosis;
  const KeptModel kept(patient.model);
  std::vector<Phase> phases = patient.fit.phases;
  if (phases.empty()) phases.push_back({.epochs = patient.fit.epochs});
  for (const auto& phase : phases) {
    if (!phase.freeze.empty()) patient.model.apply_freeze(phase.freeze);
    examine_phase(patient, train, phase, diagnosis);
  }
  keep_the_first_of_each(diagnosis.findings);
  add_checked(diagnosis, {FindingCode::kNothingTrainable, FindingCode::kFrozenHead, FindingCode::kBackboneLearningRate,
                          FindingCode::kBatchNormInFrozenTrunk, FindingCode::kBatchNormWithoutStatistics,
                          FindingCode::kBatchNormSmallBatch});
  return diagnosis;
}

}  // namespace graft::train
