/// New heads for a pretrained network. A Head is a recipe: it is given to Model::replace_head, which knows the shape of
/// the features and creates the parameters; giving it once more starts again from fresh ones.
/// Heads of your own: <graft/custom_head.h> (a torch::nn::Module) and <graft/script_head.h> (TorchScript source).
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <graft/export.h>
#include <graft/task.h>

namespace graft {

/// How weights are drawn. Sources: torch.nn.Linear.reset_parameters and keras.initializers.GlorotUniform.
enum class Initializer {
  kTorch,  ///< weight and bias from U(-1/sqrt(in), 1/sqrt(in))
  kKeras,  ///< weight from U(-sqrt(6/(in+out)), sqrt(6/(in+out))), bias 0
};

/// What follows a hidden layer.
enum class Activation { kRelu, kGelu, kTanh };

/// How a feature map [N, C, H, W], or tokens [N, T, C], becomes one vector. Features [N, C] stay as they are under
/// kAverage and kMax; the others refuse them.
enum class Pooling {
  kAverage,     ///< [N, C]; Keras' GlobalAveragePooling2D
  kMax,         ///< [N, C]
  kAverageMax,  ///< [N, 2 C]: both, the average first
  kGem,  ///< [N, C]: generalised mean with a learned exponent, 3 at first (Radenovic et al. 2018, arXiv:1711.02512)
  kAttention,  ///< [N, C]: places weighed by softmax(w tanh(V x)), 128 hidden units (Ilse et al. 2018,
               ///< arXiv:1802.04712)
};

/// An unbuilt head. Takes features [N, C, H, W], [N, T, C] or [N, C] and yields logits [N, outputs].
class GRAFT_EXPORT Head {
 public:
  struct Impl;
  explicit Head(std::shared_ptr<const Impl> impl);  ///< for the library's own heads
  ~Head();

  /// "linear", "gem+mlp:1024", "custom:TwoBranch".
  std::string describe() const;

  const Impl& impl() const { return *impl_; }  ///< the library's own side of it

 private:
  std::shared_ptr<const Impl> impl_;
};

namespace heads {

/// Of heads::linear.
struct LinearOptions {
  std::int64_t classes = 0;  ///< outputs; must be given
  double dropout = 0;        ///< probability of zeroing a feature before the layer, while training
  Initializer initializer = Initializer::kTorch;
  std::uint64_t seed = 0;  ///< of the initial weights
  Pooling pooling = Pooling::kAverage;
};

/// One dense layer: parameters head.fc.weight [classes, C], head.fc.bias [classes].
/// This and the other heads throw Error kConfig if an option is out of range.
GRAFT_EXPORT Head linear(const LinearOptions& options);

/// Of heads::mlp.
struct MlpOptions {
  std::vector<std::int64_t> hidden = {1024};  ///< widths of the hidden layers
  std::int64_t classes = 0;                   ///< outputs; must be given
  Activation activation = Activation::kRelu;  ///< after each hidden layer
  double dropout = 0;                         ///< before each dense layer, while training
  Initializer initializer = Initializer::kTorch;
  std::uint64_t seed = 0;  ///< of the initial weights
  Pooling pooling = Pooling::kAverage;
};

/// Dense hidden layers head.hidden.fc1, head.hidden.fc2, ... and a dense output layer head.fc (the tutorial's
/// Dense(1024, relu), Dense(10); the softmax belongs to the loss and to classify()).
GRAFT_EXPORT Head mlp(const MlpOptions& options);

/// Of multi_label().
struct MultiLabelOptions {
  std::int64_t labels = 0;                ///< outputs; must be given
  std::vector<std::int64_t> hidden = {};  ///< as of MlpOptions, from here on
  Activation activation = Activation::kRelu;
  double dropout = 0;
  Initializer initializer = Initializer::kTorch;
  std::uint64_t seed = 0;
  Pooling pooling = Pooling::kAverage;
};

/// mlp() with any number of labels for each picture: TaskKind::kMultiLabel.
GRAFT_EXPORT Head multi_label(const MultiLabelOptions& options);

/// Of regression().
struct RegressionOptions {
  std::int64_t outputs = 1;
  RegressionLoss loss = RegressionLoss::kMeanSquared;
  std::vector<std::int64_t> hidden = {};  ///< as of MlpOptions, from here on
  Activation activation = Activation::kRelu;
  double dropout = 0;
  Initializer initializer = Initializer::kTorch;
  std::uint64_t seed = 0;
  Pooling pooling = Pooling::kAverage;
};

/// mlp() whose outputs are numbers: TaskKind::kRegression.
GRAFT_EXPORT Head regression(const RegressionOptions& options);

/// Of cosine().
struct CosineOptions {
  std::int64_t classes = 0;  ///< outputs; must be given
  double scale = 10;         ///< initial temperature; learned
  std::uint64_t seed = 0;    ///< of the initial weights
  Pooling pooling = Pooling::kAverage;
};

/// Logits are scale times the cosine between the feature and a vector for each class: good with few examples of a class
/// (Gidaris & Komodakis 2018, arXiv:1804.09458). Parameters head.fc.weight [classes, C], head.fc.scale [].
GRAFT_EXPORT Head cosine(const CosineOptions& options);

/// One head of an ensemble.
struct Member {
  std::string name;  ///< an identifier of its own
  Head head;
  double weight = 1;  ///< of its loss
};

/// Several heads on one trunk: one forward pass, the outputs side by side, [N, sum of outputs], a task for each member
/// under its name; parameters head.NAME.*. The losses add up, each times its weight.
GRAFT_EXPORT Head ensemble(std::vector<Member> members);

/// "linear", "cosine" or "mlp:256,128", with everything else at its default; a pooling may stand before it:
/// "gem+linear" (average, max, average_max, gem, attention). Throws Error kConfig for any other text.
GRAFT_EXPORT Head parse(std::string_view text, std::int64_t classes, std::uint64_t seed = 0,
                        Initializer initializer = Initializer::kTorch);

}  // namespace heads
}  // namespace graft
