#include "cli/processes.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <thread>

#include <sched.h>

#include <ATen/Parallel.h>

#ifdef GRAFT_HAVE_MPI
#include <graft/mpi.h>
#endif

namespace graft::cli {

namespace {

/// The first of these variables that is a number, else `otherwise`.
int from_environment(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    int value = 0;
    const std::string_view digits = text ? text : "";
    if (const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        error == std::errc() && end == digits.data() + digits.size())
      return value;
  }
  return otherwise;
}

/// Whether mpirun left this process all cores of the machine.
bool may_use_all_cores() {
  cpu_set_t cores;
  return ::sched_getaffinity(0, sizeof cores, &cores) == 0 &&
         CPU_COUNT(&cores) >= static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

int started_processes() {
  return std::max(1, from_environment({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}, 1));
}

#ifdef GRAFT_HAVE_MPI
struct Processes::Session {
  MpiSession mpi;
};
#else
struct Processes::Session {};
#endif

Processes::Processes() {
  const int started = started_processes();
  if (started == 1) return;
#ifdef GRAFT_HAVE_MPI
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);  // MPI's threads inherit it, and leave signals to those of the program
  session_ = std::make_unique<Session>();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (const int found = session_->mpi.world().size(); found != started)
    throw Error(ErrorCode::kConfig, "started as " + std::to_string(started) + " processes, MPI connects " +
                                        std::to_string(found) + "; with srun try --mpi=pmix or --mpi=pmi2");
#else
  throw Error(ErrorCode::kConfig, "started as " + std::to_string(started) +
                                      " processes, but built without MPI; build with -DGRAFT_WITH_MPI=ON");
#endif
}

Processes::~Processes() = default;

Communicator* Processes::world() const {
#ifdef GRAFT_HAVE_MPI
  if (session_) return &session_->mpi.world();
#endif
  return nullptr;
}

void Processes::share(Common& common) const {
  common.processes = world();
  if (!world()) return;
  common.quiet = common.quiet || !is_first(common);
  const int here = std::max(1, from_environment({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"}, 1));
  if (common.threads == 0 && may_use_all_cores()) common.threads = std::max(1, at::get_num_threads() / here);
  const int devices = cuda_device_count();
  if ((common.device == "auto" || common.device == "cuda") && devices > 0) {
    const int mine = from_environment({"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "MPI_LOCALRANKID"}, 0);
    common.device = "cuda:" + std::to_string(mine % devices);
  }
}

void Processes::fail(const std::string& message, int status) const {
  using namespace std::chrono_literals;
  const int rank = world()->rank();
  if (rank > 0) std::this_thread::sleep_for(1s);  // what all ranks have to say, rank 0 says and ends them
  std::fprintf(stderr, "graft: rank %d: %s\n", rank, message.c_str());
  world()->abort(status);
  std::_Exit(status);  // GCC does not see that a virtual function never returns
}

}  // namespace graft::cli
