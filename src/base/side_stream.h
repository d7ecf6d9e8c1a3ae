/// CUDA streams, without CUDA's headers.
#pragma once

#include <utility>

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace graft::base {

inline c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

/// What is launched on `later` from now on begins after what was launched on `earlier`.
inline void order(const c10::Stream& earlier, const c10::Stream& later) {
  c10::Event event(earlier.device_type());
  event.record(earlier);
  event.block(later);
}

/// Calls `work` with another stream than the current one as the current, in order with that.
template <class Work>
void on_side_stream(c10::Device device, const Work& work) {
  const c10::DeviceGuard there(device);
  const auto current = current_stream(device);
  const auto side = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  order(current, side);
  {
    const c10::StreamGuard guard(side);
    work();
  }
  order(side, current);
}

}  // namespace graft::base
