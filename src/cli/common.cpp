#include "cli/common.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <sys/ioctl.h>
#include <unistd.h>

namespace graft::cli {

namespace {

/// Whether a progress bar is on the terminal now, with the cursor behind it.
std::atomic<bool> bar_is_drawn{false};

/// What is written next begins a line of its own; the bar comes back when it is drawn anew.
void erase_bar() {
  if (!bar_is_drawn.exchange(false)) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
}

}  // namespace

void print(std::string_view text) {
  if (::isatty(STDOUT_FILENO) != 0) erase_bar();
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) throw Error(ErrorCode::kIo, std::string("cannot write to standard output: ") + std::strerror(errno));
}

void note(const Common& common, std::string_view line) {
  if (common.quiet) return;
  erase_bar();
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

WarningCallback warnings(const Common& common) {
  return [common](std::string_view text) { note(common, "warning: " + std::string(text)); };
}

void add_model_options(CLI::App& app, ModelFile& model) {
  app.add_option("MODEL", model.path, "TorchScript file, or the weights of VGG16 or ResNet50 as FILE.safetensors")
      ->required();
  app.add_option("--preprocessing", model.preprocessing, kPreprocessingHelp);
  app.add_option("--labels", model.labels,
                 "file with the names of the classes, one on each line or JSON, instead of those in the model");
  app.add_option("--head-layer", model.head_layer, "the layer that is the head, where it cannot be found by looking");
  app.add_option("--sha256", model.sha256, "refuse any other weights (inspect shows a file's)");
  app.add_option("--sha256-manifest", model.sha256_manifest,
                 "refuse a file that this list of hashes (as sha256sum writes) does not have");
  app.add_flag("--no-verify", model.no_verify, "do not recompute the hash and the golden answer that the file states");
  app.add_flag("--allow-traced-training", model.allow_traced_training, "run a network traced in training mode");
}

Model load_model(const ModelFile& model, const Common& common) {
  LoadOptions options;
  options.device = Device::parse(common.device);
  if (!model.preprocessing.empty()) options.preprocessing = Preprocessing::parse(model.preprocessing);
  if (!model.labels.empty()) options.labels = read_labels(model.labels);
  options.head = model.head_layer;
  options.sha256 = model.sha256;
  options.sha256_manifest = model.sha256_manifest;
  options.verify = !model.no_verify;
  options.allow_traced_training = model.allow_traced_training;
  options.on_warning = warnings(common);
  const bool weights_alone = std::string_view(model.path).ends_with(".safetensors");
  return weights_alone ? Model::from_safetensors(model.path, options) : Model::load(model.path, options);
}

void add_reduced_decoding(CLI::App& app, bool& reduced) {
  app.add_flag("--reduced-decoding", reduced,
               "decode large JPEGs at 1/2, 1/4 or 1/8 of their size: faster, and nearly the same pixels");
}

DecodeOptions decode_options(bool reduced, const Preprocessing& preprocessing) {
  DecodeOptions options;
  if (reduced) options.reduced = preprocessing.reduced_size();
  return options;
}

void add_precision(CLI::App& app, std::string& precision) {
  app.add_option("--precision", precision,
                 "arithmetic of the network; int8 wants a file that graft quantize has written, auto is bfloat16 where "
                 "the processor has it and answers hardly change")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16", "int8", "auto"}))
      ->capture_default_str();
}

std::vector<std::string> classes_of(const Model& model) {
  std::vector<std::string> classes;
  for (const auto& label : model.labels()) classes.push_back(label.id);
  return classes;
}

void add_on_bad_image(CLI::App& app, std::string& on_bad_image) {
  app.add_option("--on-bad-image", on_bad_image, "unreadable pictures")
      ->check(CLI::IsMember({"fail", "skip"}))
      ->capture_default_str();
}

OnBadImage parse_on_bad_image(const std::string& text) {
  return text == "skip" ? OnBadImage::kSkip : OnBadImage::kFail;
}

int loader_threads(const Common& common) {
  return common.threads > 0 ? common.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

LoaderOptions loader_options(const Model& model, std::int64_t batch_size, const Common& common) {
  const auto device = model.device();
  return {.batch_size = batch_size, .threads = loader_threads(common), .bytes = device.is_cuda(), .device = device};
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long long>(std::max(0.0, seconds) + 0.5);
  char text[32];
  std::snprintf(text, sizeof text, "%lld:%02lld", whole / 60, whole % 60);
  return text;
}

Progress::Progress(const Common& common)
    : shown_(!common.quiet), terminal_(::isatty(STDERR_FILENO) != 0), colour_(std::getenv("NO_COLOR") == nullptr) {}

Progress::~Progress() {
  if (open_ && bar_is_drawn.exchange(false)) std::fputc('\n', stderr);
}

void Progress::update(std::string_view title, std::int64_t done, std::int64_t total, std::string_view text) {
  using namespace std::chrono_literals;
  if (!shown_ || !terminal_ || total <= 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (!open_ || done < last_done_ || total != last_total_) {
    start_ = now;
    first_done_ = done;
  }
  last_done_ = done;
  last_total_ = total;
  if (open_ && bar_is_drawn && done < total && now - drawn_ < 50ms) return;
  open_ = true;
  drawn_ = now;
  winsize window{};
  const int columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 20 ? window.ws_col : 80;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const auto timed = static_cast<double>(done - first_done_);
  const std::string left = timed > 0 ? clock_text(elapsed / timed * static_cast<double>(total - done)) : "-:--";
  std::string tail =
      " " + std::to_string(done) + "/" + std::to_string(total) + "  " + std::string(text) + "  " + left + " left";
  const int width = std::clamp(columns - 1 - static_cast<int>(title.size() + tail.size()) - 3, 4, 30);
  const auto filled = static_cast<std::size_t>(done * width / total);
  std::string bar = std::string(filled, '#') + std::string(static_cast<std::size_t>(width) - filled, '.');
  std::string line = std::string(title) + " [" + bar + "]" + tail;
  line.resize(std::min<std::size_t>(line.size(), static_cast<std::size_t>(columns - 1)));
  const auto at = line.find(bar);
  if (colour_ && at != std::string::npos) line.insert(at + filled, "\x1b[0m").insert(at, "\x1b[32m");
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  std::fflush(stderr);
  bar_is_drawn = true;
}

void Progress::finish(std::string_view line) {
  if (!shown_) return;
  erase_bar();
  if (!line.empty()) std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  open_ = false;
}

}  // namespace graft::cli
