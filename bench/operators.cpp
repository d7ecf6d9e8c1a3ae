// Where the time of classify() goes for one prepared picture: in the operators that the network is made of, in others
// that the library calls (layout, softmax, the best classes), or outside of all operators (interpreter, checks,
// labels). LibTorch reports each operator it runs; what the reports cost counts as outside. Prints milliseconds per
// call as JSON. Driven by overhead.py.
//
//   graft_bench_operators MODEL PRECISION SECONDS THREADS
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <ATen/Parallel.h>
#include <ATen/ops/rand.h>
#include <ATen/record_function.h>

#include <graft/graft.h>

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Sums up the operators that this thread calls, without those that run inside another.
class OperatorTimes {
 public:
  OperatorTimes() {
    current = this;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&begin, &end).scopes({at::RecordScope::FUNCTION}));
  }
  ~OperatorTimes() { at::removeCallback(handle_); }
  OperatorTimes(const OperatorTimes&) = delete;
  OperatorTimes& operator=(const OperatorTimes&) = delete;

  const std::map<std::string, double, std::less<>>& milliseconds() const { return milliseconds_; }

 private:
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
    if (current->depth_++ == 0) current->start_ = Clock::now();
    return nullptr;
  }
  static void end(const at::RecordFunction& function, at::ObserverContext*) {
    if (--current->depth_ > 0) return;
    const double passed = milliseconds_since(current->start_);
    auto& sums = current->milliseconds_;
    const auto sum = sums.find(std::string_view(function.name()));  // makes no string: its cost counts as outside
    (sum == sums.end() ? sums.emplace(function.name(), 0.0).first : sum)->second += passed;
  }

  inline static thread_local OperatorTimes* current = nullptr;
  at::CallbackHandle handle_;
  std::map<std::string, double, std::less<>> milliseconds_;
  int depth_ = 0;
  Clock::time_point start_;
};

/// An operator of a convolutional network; all others are the library's doing.
bool is_of_network(std::string_view name) {
  constexpr std::array kBegins{
      "mkldnn::",         "mkldnn_prepacked::", "onednn::",       "quantized::",    "aten::conv",    "aten::_conv",
      "aten::linear",     "aten::addmm",        "aten::matmul",   "aten::relu",     "aten::flatten", "aten::add",
      "aten::batch_norm", "aten::max_pool",     "aten::avg_pool", "aten::adaptive", "graft::"};
  for (const std::string_view begin : kBegins)
    if (name.starts_with(begin)) return true;
  return false;
}

void measure(const graft::Model& model, graft::Precision precision, double seconds) {
  const auto& p = model.preprocessing();
  const at::Tensor batch =  // as Model::preprocess lays it out
      at::rand({1, 3, p.crop_height_px, p.crop_width_px}).contiguous(at::MemoryFormat::ChannelsLast);
  const graft::ClassifyOptions options{.precision = precision};
  for (int i = 0; i < 3; ++i) (void)model.classify(batch, options);

  const OperatorTimes operators;
  int calls = 0;
  const auto start = Clock::now();
  for (; milliseconds_since(start) < 1000 * seconds; ++calls) (void)model.classify(batch, options);
  const double whole = milliseconds_since(start);
  double network = 0, library = 0;
  std::string list;
  for (const auto& [name, milliseconds] : operators.milliseconds()) {
    (is_of_network(name) ? network : library) += milliseconds;
    char entry[160];
    std::snprintf(entry, sizeof entry, "%s\"%s\": %.4f", list.empty() ? "" : ", ", name.c_str(), milliseconds / calls);
    list += entry;
  }
  std::printf(
      "{\"calls\": %d, \"whole_ms\": %.4f, \"network_ms\": %.4f, \"library_ms\": %.4f, \"operators_ms\": {%s}}\n",
      calls, whole / calls, network / calls, library / calls, list.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: graft_bench_operators MODEL PRECISION SECONDS THREADS\n";
    return 2;
  }
  try {
    at::set_num_threads(std::stoi(argv[4]));
    measure(graft::Model::load(argv[1]), graft::parse_precision(argv[2]), std::stod(argv[3]));
  } catch (const std::exception& error) {
    std::cerr << "graft_bench_operators: " << error.what() << '\n';
    return 1;
  }
}
