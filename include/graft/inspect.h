/// What a model is made of.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <graft/device.h>
#include <graft/export.h>
#include <graft/input.h>
#include <graft/task.h>

namespace graft {

/// What a class is called.
struct Label {
  std::string id;    ///< unique: wnid or class name
  std::string name;  ///< readable

  bool operator==(const Label&) const = default;
};

/// ImageNet-1k's 1000 classes in index order (wnid and name as Keras' imagenet_utils spells it).
GRAFT_EXPORT const std::vector<Label>& imagenet_labels();

/// From a file: a class on each line, in index order, as torchvision's imagenet_classes.txt; or JSON, an array of names
/// or {"0": ["n01440764", "tench"], ...} as Keras' imagenet_class_index.json. Line ends of Windows, a byte order mark
/// and blank lines at the end are allowed. Throws Error kIo; kFormat naming the line (not UTF-8, control characters,
/// other JSON); kMismatch (none, a blank line in between, one twice); kLimit (a file above 64 MB, a line above 4 kB,
/// a NUL byte).
GRAFT_EXPORT std::vector<Label> read_labels(const std::filesystem::path& path);

/// One call of a layer, in execution order.
struct LayerInfo {
  std::string name;                        ///< dotted path: layer4.1.conv2
  std::string type;                        ///< the class's name: Conv2d, BatchNorm2d, Sequential
  std::vector<std::int64_t> output_shape;  ///< for a batch of one; empty if the layer yields no tensor
  std::int64_t parameters = 0;             ///< of the layer and everything below it
  std::int64_t trainable = 0;              ///< how many of them are not frozen
};

/// How near a model's answers in int8 are to those in float32, on the pictures that quantize() was given.
struct Int8Info {
  std::int64_t pictures = 0;
  /// Share of the pictures for which both name the same class first, 0..1, in the first task of single labels.
  std::optional<double> top1_agreement = {};
  double mean_difference = 0;  ///< mean over the pictures of the largest difference of a probability, or of a
                               ///< regression's number
  double max_difference = 0;   ///< the largest of them
  std::optional<double> float32_accuracy = {};  ///< 0..1; where the pictures' classes are known
  std::optional<double> int8_accuracy = {};     ///< the same
};

/// How a network runs on the CPU. The result of inspect_plan.
struct PlanInfo {
  /// An operator and how often it runs.
  struct Operator {
    std::string name;  ///< "mkldnn::_convolution_pointwise"
    std::int64_t count = 0;
    std::string by;  ///< whose it is: "oneDNN", "cuDNN", "Graft" or "LibTorch"
  };

  Precision precision = Precision::kFloat32;  ///< what it is in; for kAuto what that stands for
  /// Why it is not compiled, so that LibTorch's interpreter runs all of it; empty if it is. The rest is about a plan.
  std::string obstacle;
  std::int64_t convolutions = 0;
  std::int64_t fused = 0;            ///< of these: one operator with batch norm, activation and residual addition
  std::int64_t with_relu = 0;        ///< of the fused ones
  std::int64_t with_add = 0;         ///< the same
  std::vector<Operator> operators;   ///< what runs, the most frequent first
  std::vector<std::string> unfused;  ///< convolutions that LibTorch runs as they are: "LAYER: REASON"
};

class Model;
/// What becomes of the model for one picture in this precision; compiles it. Throws Error kConfig (training mode, or
/// int8 without a calibration), kMismatch (a calibration that does not fit).
GRAFT_EXPORT PlanInfo inspect_plan(const Model& model, Precision precision = Precision::kFloat32);

/// The result of Model::inspect.
struct ModelInfo {
  std::string family;                     ///< "vgg16", "resnet50" or "other"
  std::string origin;                     ///< "scripted", "traced" or "frozen"
  std::vector<std::int64_t> input_shape;  ///< [1, 3, H, W], or [1, T]: a text of so many tokens, as the shapes are for
  std::int64_t classes = 0;
  std::vector<LayerInfo> layers;
  std::int64_t parameters = 0;
  std::int64_t trainable = 0;
  std::string head;               ///< the head's layer name
  std::string head_kind;          ///< Head::describe(), or "original"
  std::string features_layer;     ///< the layer whose output the features cut yields; empty if there is none
  std::string penultimate_layer;  ///< the last linear layer
  std::string batch_norm;         ///< policy: follow, inference or train
  std::vector<Task> tasks;        ///< over the outputs
  Input input;
  std::vector<Label> labels;
  std::string sha256;                 ///< over all parameters and buffers: names, shapes, bytes
  std::optional<Int8Info> int8 = {};  ///< if it is calibrated
};

}  // namespace graft
