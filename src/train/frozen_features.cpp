#include "train/frozen_features.h"

#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "train/cached_network.h"
#include "train/kept_model.h"
#include "train/sample.h"
#include "train/training_mode.h"

namespace graft::train {

namespace {

Features features_of(CachedNetwork& network, const Patient& patient, const Dataset& data) {
  const Readable readable(data);
  Examples examples(network, readable, patient.trainer, /*training=*/false);
  DataLoader loader(readable, patient.model.input(),
                    examples.for_loader({.batch_size = patient.fit.batch_size,
                                         .threads = patient.fit.loader_threads,
                                         .device = patient.model.device()}));
  Features features;
  std::vector<at::Tensor> values, labels;
  while (const auto batch = loader.next()) {
    const auto yielded = network.has_trunk() ? examples.features(*batch, loader) : patient.model.embed(batch->images);
    values.push_back(yielded.to(at::kCPU));
    labels.push_back(batch->labels);
    features.indices.insert(features.indices.end(), batch->indices.begin(), batch->indices.end());
  }
  features.values = at::cat(values);
  features.labels = at::cat(labels);
  return features;
}

}  // namespace

std::vector<Features> frozen_features(const Patient& patient, const std::vector<const Dataset*>& data) {
  const at::NoGradGuard no_grad;
  const KeptModel kept(patient.model);
  patient.model.set_batch_norm(BatchNormPolicy::kInference);
  patient.model.unfreeze();
  patient.model.freeze();
  CachedNetwork network(patient.model, patient.trainer);
  {
    const TrainingMode training(patient.model);
    network.refresh();
  }
  std::vector<Features> all;
  for (const auto* one : data) all.push_back(features_of(network, patient, *one));
  return all;
}

}  // namespace graft::train
