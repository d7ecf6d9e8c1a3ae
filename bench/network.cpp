// Pictures per second through Model::forward, images prepared beforehand. Prints the number. Driven by inference.py.
//
//   graft_bench_network MODEL BATCH PRECISION SECONDS THREADS
#include <chrono>
#include <cstdio>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/ops/rand.h>

#include <graft/graft.h>

namespace {

double pictures_per_second(const graft::Model& model, std::int64_t batch_size, graft::Precision precision,
                           double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto& p = model.preprocessing();
  const at::Tensor batch = at::rand({batch_size, 3, p.crop_height_px, p.crop_width_px});
  (void)model.forward(batch, precision);
  std::int64_t done = 0;
  const auto start = Clock::now();
  double passed = 0;
  while (passed < seconds) {
    (void)model.forward(batch, precision);
    done += batch_size;
    passed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return static_cast<double>(done) / passed;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: graft_bench_network MODEL BATCH PRECISION SECONDS THREADS\n");
    return 2;
  }
  try {
    at::set_num_threads(std::stoi(argv[5]));
    const auto model = graft::Model::load(argv[1]);
    std::printf("%.3f\n",
                pictures_per_second(model, std::stoll(argv[2]), graft::parse_precision(argv[3]), std::stod(argv[4])));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "graft_bench_network: %s\n", error.what());
    return 1;
  }
}
