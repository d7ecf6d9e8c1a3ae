// Pictures per second through Model::forward, images prepared beforehand. Loads the model, prints "ready", then for
// each line SECONDS on standard input the figure. Driven by inference.py.
//
//   graft_bench_network MODEL BATCH PRECISION THREADS
#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/ops/rand.h>

#include <graft/graft.h>

namespace {

double pictures_per_second(const graft::Model& model, const at::Tensor& batch, graft::Precision precision,
                           double seconds) {
  using Clock = std::chrono::steady_clock;
  std::int64_t done = 0;
  const auto start = Clock::now();
  double passed = 0;
  while (passed < seconds) {
    (void)model.forward(batch, precision);
    done += batch.size(0);
    passed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return static_cast<double>(done) / passed;
}

void serve(const std::string& file, std::int64_t batch_size, graft::Precision precision) {
  const auto model = graft::Model::load(file);
  const auto& p = model.preprocessing();
  const at::Tensor batch = at::rand({batch_size, 3, p.crop_height_px, p.crop_width_px});
  for (int i = 0; i < 2; ++i) (void)model.forward(batch, precision);
  std::cout << "ready" << std::endl;
  for (double seconds = 0; std::cin >> seconds;)
    std::cout << pictures_per_second(model, batch, precision, seconds) << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: graft_bench_network MODEL BATCH PRECISION THREADS\n";
    return 2;
  }
  try {
    at::set_num_threads(std::stoi(argv[4]));
    serve(argv[1], std::stoll(argv[2]), graft::parse_precision(argv[3]));
  } catch (const std::exception& error) {
    std::cerr << "graft_bench_network: " << error.what() << '\n';
    return 1;
  }
}
