/// What the program's commands share: global options, progress on the terminal, output.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <graft/graft.h>

namespace graft::cli {

struct Common {
  std::string device = "auto";
  int threads = 0;  ///< 0: LibTorch's own choice
  bool json = false;
  bool quiet = false;
  Communicator* processes = nullptr;  ///< null: this one is alone
};

/// A command: registers its options and returns what to do when it was chosen.
using Command = std::function<void(const Common&)>;
Command add_augment(CLI::App& app);
Command add_calibrate(CLI::App& app);
Command add_classify(CLI::App& app);
Command add_completion(CLI::App& app);
Command add_compare(CLI::App& app);
Command add_doctor(CLI::App& app);
Command add_embed(CLI::App& app);
Command add_evaluate(CLI::App& app);
Command add_explain(CLI::App& app);
Command add_export(CLI::App& app);
Command add_finetune(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_lr_find(CLI::App& app);
Command add_manual(CLI::App& app);
Command add_neighbors(CLI::App& app);
Command add_project(CLI::App& app);
Command add_quantize(CLI::App& app);
Command add_report(CLI::App& app);
Command add_sweep(CLI::App& app);

/// Prints to standard output, in the place of a progress bar where both are on the terminal. Throws Error kIo if it is
/// closed or full.
void print(std::string_view text);
/// One line to standard error, in the place of a progress bar, unless quiet.
void note(const Common& common, std::string_view line);
WarningCallback warnings(const Common& common);

/// The model that a command works on, and how it is to be loaded.
struct ModelFile {
  std::string path, preprocessing, labels, head_layer, sha256, sha256_manifest;
  bool no_verify = false, allow_traced_training = false;
};
inline constexpr const char* kPreprocessingHelp =
    "torch, torch_232, caffe, tf, vgg_features or rescale, and changes: torch,resize=248,interpolation=bicubic";
void add_model_options(CLI::App& app, ModelFile& model);
Model load_model(const ModelFile& model, const Common& common);

void add_reduced_decoding(CLI::App& app, bool& reduced);
/// How pictures for this preprocessing are decoded.
DecodeOptions decode_options(bool reduced, const Preprocessing& preprocessing);

/// --precision of commands that run a model.
void add_precision(CLI::App& app, std::string& precision);

/// The model's own classes, in its order.
std::vector<std::string> classes_of(const Model& model);

/// --on-bad-image.
void add_on_bad_image(CLI::App& app, std::string& on_bad_image);
OnBadImage parse_on_bad_image(const std::string& text);
/// Threads that decode beside the network's.
int loader_threads(const Common& common);
/// For pictures or texts that the model answers, in their order.
LoaderOptions loader_options(const Model& model, std::int64_t batch_size, const Common& common);

/// A bar that is drawn anew on a terminal; elsewhere one plain line each time it is finished.
class Progress {
 public:
  explicit Progress(const Common& common);
  ~Progress();
  /// `done` of `total`, with text behind the bar. A smaller `done` or another `total` begins something else, whose time
  /// left is not what the one before took.
  void update(std::string_view title, std::int64_t done, std::int64_t total, std::string_view text);
  /// Leaves `line` standing, if there is one, and begins anew.
  void finish(std::string_view line);

 private:
  bool shown_;
  bool terminal_;
  bool colour_;
  bool open_ = false;
  std::chrono::steady_clock::time_point start_, drawn_;
  std::int64_t first_done_ = 0, last_done_ = 0, last_total_ = 0;
};

/// "1:05" for 65 seconds.
std::string clock_text(double seconds);

}  // namespace graft::cli
