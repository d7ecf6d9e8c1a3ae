/// Several processes that train together, each with the same program, data and options: how they talk to each other.
///
/// Every process of a communicator calls the same functions in the same order; each returns when all have called it.
/// graft/mpi.h has one over MPI. One thread at a time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/device.h>
#include <graft/export.h>

namespace graft {

/// The processes of a run, as one of them sees them.
class GRAFT_EXPORT Communicator {
 public:
  virtual ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  virtual int rank() const noexcept = 0;  ///< which of them this is, from 0; rank 0 writes files and prints
  virtual int size() const noexcept = 0;  ///< how many there are

  /// Each tensor becomes the sum of those of all processes, the same bits in each of them. Of one shape and type
  /// everywhere: integers, float64, or others, whose sums are computed in float32. Throws Error kIo where the
  /// connection fails, and so do all others.
  virtual void sum(const std::vector<at::Tensor>& tensors) = 0;

  /// A sum that is under way. Destroyed before wait() it is waited for, and the tensors stay as they are.
  class GRAFT_EXPORT Pending {
   public:
    virtual ~Pending();
    /// Lets it go on, without waiting: transports without a thread of their own need to be called now and then.
    virtual void advance() = 0;
    /// Waits until the tensors are the sums. Once. Throws as sum() does.
    virtual void wait() = 0;
  };
  /// sum() while the caller computes: the tensors are read here and changed by wait(). Several may be under way, and
  /// other functions be called meanwhile; all begin, and are waited for, in the same order in every process. Default:
  /// wait() calls sum(), so that they must not change before it.
  virtual std::unique_ptr<Pending> start_sum(const std::vector<at::Tensor>& tensors);
  /// Whether sums of tensors on this device run there, in its stream: start_sum() and wait() then do not hold up the
  /// caller, and may be called by any thread, one at a time. Every process calls it. Default: false.
  virtual bool sums_on(Device device);

  /// Each tensor becomes that of rank 0.
  virtual void broadcast(const std::vector<at::Tensor>& tensors) = 0;
  /// The text of rank 0.
  virtual std::string broadcast(const std::string& text) = 0;
  /// The texts of all, by rank, in every process.
  virtual std::vector<std::string> all_gather(const std::string& text) = 0;
  /// Ends all processes, with this exit status: for a failure that the others do not know of.
  [[noreturn]] virtual void abort(int status) = 0;

  void barrier();        ///< returns when all have come here
  bool any(bool value);  ///< whether it is true in one of them

  /// Throws Error kMismatch, in every process, naming what is not the same in all of them, with both values and whose
  /// they are.
  void require_same(const std::map<std::string, std::string>& named);

 protected:
  Communicator() = default;
};

}  // namespace graft
