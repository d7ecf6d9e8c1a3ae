/// Training and trials that leave no trace.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <graft/model.h>
#include <graft/task.h>

#include "model/int8_state.h"
#include "train/weights.h"

namespace graft::train {

/// A model as it is now, put back at the end of the scope: which parameters train, the batch norm policy, the tasks'
/// calibrations and, where they are asked for, weights. The head must be the same then.
///
/// The end of the scope throws nothing and needs no memory of the device. What cannot be put back, as on a device that
/// has failed, stays as it is, and the rest is put back nevertheless.
class KeptModel {
 public:
  /// Without weights.
  explicit KeptModel(Model& model);
  /// With the values of these parameters and of all buffers, and with what int8 goes by, which is for those values: no
  /// other weight may change in the scope.
  KeptModel(Model& model, const std::vector<std::string>& parameters);
  ~KeptModel();
  KeptModel(const KeptModel&) = delete;
  KeptModel& operator=(const KeptModel&) = delete;

  /// Nothing is put back.
  void release() { model_ = nullptr; }

 private:
  void put_back_weights();

  Model* model_;
  BatchNormPolicy policy_;
  std::vector<std::pair<at::Tensor, bool>> trains_;
  std::vector<std::pair<std::string, Calibration>> calibrations_;  ///< by task
  Weights weights_, before_;
  std::optional<model::Int8> int8_;
};

}  // namespace graft::train
