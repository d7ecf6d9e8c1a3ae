/// The program as several processes, started by mpirun or srun.
#pragma once

#include <memory>
#include <string>

#include <graft/communicator.h>

#include "cli/common.h"

namespace graft::cli {

/// How many processes mpirun or srun says it started; 1 without them.
int started_processes();

/// The others of a run, for as long as this lives.
class Processes {
 public:
  /// MPI, where the program was started as several processes. Throws Error kConfig if they cannot find each other.
  Processes();
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  /// Null: this one is alone.
  Communicator* world() const;

  /// Shares the machine with those that run on it: a device for each, cores unless --threads says how many.
  void share(Common& common) const;

  /// Says what went wrong, and here, and ends all processes.
  [[noreturn]] void fail(const std::string& message, int status) const;

 private:
  struct Session;
  std::unique_ptr<Session> session_;
};

/// Whether this process is the one that prints and writes what there is one of.
inline bool is_first(const Common& common) { return !common.processes || common.processes->rank() == 0; }

}  // namespace graft::cli
