# SPDX-License-Identifier: GPL-2.0-only
"""Functions never to blame, as tables: they report, enter the kernel, copy, allocate, wait or lock for their caller.

A word matches a whole name, without leading underscores and gcc's suffixes (.isra.0, .part.3); `*` stands for
anything, `{a,b}` for one of both. COMMON holds for every form of report, the other tables for those that name them.
"""

from __future__ import annotations

COMMON = """
# reporting
dump_stack* dump_backtrace show_stack* print_* panic* vpanic* nmi_panic warn warn_* report_bug* fixup_bug
handle_bug end_report *_report_{bug,invalid_free,error} die die_kernel_fault oops_* printk* vprintk* va_format
start_report kasan* kcsan* kmsan* kfence_* ubsan_* val_to_string handle_overflow check_memory_region*
{asan,tsan,msan,hwasan}_* sanitizer_* memory_is_* bytes_is_* get_address_* stack_trace_* save_stack*
set_track* save_trace arch_stack_walk* unwind_{get,next}* walk_stackframe stack_depot_* sched_show_task
debug_show_* check_panic_on_* stack_chk_fail brk_handler bug_handler call_break_hook debug_exception_*
do_debug_exception {trace,hardirqs}_{hardirqs,softirqs,irq,on,off}* trace_*_thunk perf_trace_* traceiter_*
ftrace_* spin_{dump,bug} rwlock_bug debug_smp_* check_preemption_* lockdep_* csd_lock_* debug_object_*
check_poison* check_{slab,page}_allocation should_fail* fail_dump hex_dump_to_buffer print_hex_dump*
ref_tracker_* tracer_*
# entry
exc_* asm_* do_error_trap do_trap* do_invalid_op invalid_op error_{entry,return,exit} no_context bad_area*
do_page_fault page_fault* async_page_fault general_protection do_general_protection do_kern_addr_fault
do_user_addr_fault do_kernel_fault do_mem_abort do_translation_fault do_bad_area do_sp_pc_abort do_DataAbort
dabt_svc und_svc do_undefinstr handle_exception do_alignment* do_tag_check_fault divide_error do_divide_error
do_int3 stack_segment do_stack_segment double_fault do_double_fault el{0,1}* entry_* do_syscall_* ret_from_*
invoke_syscall ret_fast_syscall syscall_* program_check_* data_access_* handle_page_fault do_trap_break
do_program_check interrupt_return* retint_* common_interrupt stext text_start vector_* bad_mode bad_stack
handle_bad_stack panic_bad_stack early_*fixup* int3
# locks and annotations
{raw_,}{spin,read,write}_{try,}{un,}lock* do_raw_* queued_* native_queued* pv_{queued,wait,kick,hash}*
arch_{spin,read,write}_* lock_{acquire,release,downgrade,set,is_held}* register_lock_class look_up_lock_class
validate_chain* check_prev* check_noncircular mark_{lock,usage,held}* check_deadlock check_lock*
assign_lock_key find_held_lock debug_lockdep* rcu_read_*lock* rcu_lock_* rcu_is_watching
might_{sleep,fault,resched}* might_* cond_resched* seqprop_* seqcount_* debug_check_no_locks_* debug_mutex_*
rt_spin_* rt_{read,write}_* mutex_* osq_* rwsem_* down
down_{read,write,killable,interruptible,timeout,trylock}* up up_{read,write}* ldsem_* ww_mutex_*
# waiting and waking
wake_up* finish_wait prepare_to_wait* wait_for_completion* wait_for_common* complete complete_all swake_up*
kthread_stop* insert_work queue_{delayed_,}work* try_to_grab_pending cancel_{delayed_,}work*
flush_{delayed_,}work* drain_workqueue destroy_workqueue del_timer* timer_{delete,shutdown}*
timer_is_static_object try_to_del_timer*
# copying, strings, lists, counts, bits, trees
mem{cpy,set,move,cmp,chr,scan,dup}* memchr_inv clear_page* str{,n}{len,cpy,cmp,cat,chr,str,casecmp,dup}*
str{lcpy,scpy,rchr,sep,pbrk}* sized_strscpy kstrdup* kmemdup* match_*string {raw_,}copy_{to,from,in,user,mc}*
copyin copyout {get,put,clear}_user* rep_movs* copy_page_{to,from}_iter* simple_copy_to_iter instrument_*
copy_overflow check_heap_object check_object_size list_{add,del,move,replace,splice,cut}* hlist_* llist_*
refcount_* kref_* kobject_* klist_{put,del,next}* lockref_* arch_atomic* atomic*_* raw_atomic* read_once*
write_once* arch_static_* test_bit find_{first,next}*bit* atomic_dec_and_* sn{,c}printf scnprintf vsnprintf
vscnprintf sprintf vsprintf kasprintf* kvasprintf* string string_{nocheck,escape*} pointer number put_dec*
widen_string device_node_string hex_*string kstrto* simple_strto* fortify_* xa_*
rb_{insert,erase,next,prev,first,link,replace}* timerqueue_{add,del} csum_partial* crc32* ida_*
idr_{remove,alloc,find,get}* rhashtable_* rht_* jhash* virt_to_phys* phys_addr* indirect_thunk* x86_*thunk*
fdget* cpu_relax rep_nop native_* local_*irq* arch_local_* preempt_count_*
# allocators
{k,v,kv,}{m,z,}alloc* {k,kv}calloc* krealloc* {k,v,kv}free* kmem_cache_{alloc,free}* do_kmalloc* slab_*
kzalloc*
# the driver core, files, inodes, pages
device_{add,for_each_child,del,register,unregister,release_driver*,remove_{file,group}*,create_file}
get_device_parent {get,put}_device sysfs_{remove,create}_* dev_{warn,err,info,notice,emerg,printk}*
netdev_{warn,err,info,notice,emerg,printk}* dev_vprintk_emit dev_printk_emit dev_set_name dev_driver_string
rollback_registered* unregister_netdevice_{many,queue}* usb_{kill,submit,poison,unlink}_urb
{i2c,spi}_{del,unregister}_* unregister_client platform_device_{del,unregister} bitmap_* read_word_at_a_time
page_address {drop,inc,clear,set}_nlink
fast_dput dput retain_dentry mark_buffer_* brelse bforget {un,}lock_{page,buffer} folio_{un,}lock
folio_{put,end,wait,clear,set,test}* end_page_* put_page
"""

# A name that holds one of these is a wrapper of it.
WRAPPERS = """
copy_to_user copy_from_user memdup_user kmalloc kzalloc kcalloc kmem_cache_alloc kmem_cache_free kstrdup
kmemdup spin_lock spin_unlock mutex_lock mutex_unlock write_lock read_lock write_unlock read_unlock lockdep
kasan kmsan kcsan kfence dump_stack refcount_ ref_tracker debug_object cancel_work cancel_delayed_work
flush_work flush_delayed_work stack_trace sysfs_remove del_timer list_add_valid list_del_entry_valid usercopy
virt_to_phys percpu_counter atomic_dec atomic_inc atomic_sub atomic_add workqueue
"""

_SCHEDULE = """
schedule* context_switch io_schedule* switch_to bit_wait* out_of_line_wait* wait_on_bit* wait_event*
do_wait_*common do_wait_for_* rt_mutex* rt_*lock* rwbase_* call_rwsem_* futex_wait_queue* autoremove_*
preempt_* percpu_down* percpu_rwsem* queue_event start_flush_work touch_work_* lock_on_* wait_on_* wait_*bit*
lock_{page,buffer,folio,sock,metapage}* folio_{wait,lock}* kthread_{stop,park}* kthread_* usb_start_wait_urb
rwlock_* dev_hold
"""
_ALLOC = """
kmem_cache_* slab_* slub_* new_slab* allocate_slab alloc_slab_page cache_{grow,alloc,free,flush}*
fallback_alloc do_slab_free do_kmem_cache_* alloc_{page,pages}* get_page_from_freelist get_free_pages
free_{page,pages}* rmqueue* prep_new_page post_alloc_hook check_new_page* qlist_* qlink_* quarantine_*
kmemleak_* create_object free_large_kmalloc large_free_hook poison_* alloc_percpu* pcpu_alloc* dma_alloc*
devm_k* object_err print_trailer slab_err check_slab free_debug_* *_check_bytes* mempool_* folio_alloc*
vmalloc* vzalloc* kvmalloc_* kmalloc_* warn_alloc*
"""

TABLES = {
    "": "",
    "access": "",
    "fault": "",
    "free": _ALLOC,
    "kfence": _ALLOC,
    "kmsan": "put_user* instrument* kmalloc* kmem_cache*",
    "page": _ALLOC
    + """
        bad_page* kernel_{un,}poison_pages free_* page_{cache,remove}* check_{pcp,new,free}* print_bad_pte
        vm_normal_page folios_put*
        pages_put* put_pages_list folio_batch_* lru_add_fn folio_add_lru*
        release_pages destroy_large_folio tlb_* bulk_* prep_compound_* put_*page*
        unaccount_page_cache* filemap_unaccount* filemap_{alloc,get,add}_folio* pagecache_get_page""",
    "allocator": _ALLOC + "*alloc* *strdup* *strndup* *memdup* kmem* mempool* bpf_map_area* idr_get*",
    "list": "list_*",
    "usercopy": "usercopy_* check_* copy_*",
    "bug": "skb_{over,under}_panic skb_panic skb_{push,put,pull}*",
    "rust": "*rust_begin_unwind* *panicking* *panic_fmt* rust_helper_*",
    "lock": _SCHEDULE
    + """
        kfree* kmem_cache_free* slab_free* debug_check_no_locks* static_obj lock_* local_lock* rwsem* percpu_*
        seqcount_* seq_lockdep* do_*seqcount* sync_*timer* timer_delete* complete* kmalloc* sk_{destruct,free}
        sock_put perf_trace_init cpus_read_lock*""",
    "rcu": "rcu_* kmem_* slab_* kmalloc* dump_* list_*_rcu",
    "sleep": _SCHEDULE
    + _ALLOC
    + """
        schedule_bug dequeue_task* start_flush* lock_sock* slab_pre_alloc* prepare_exit* synchronize_* console_lock
        rcu_barrier do_softirq* irq_exit* *apic_timer* sysvec_*""",
    "preempt": "check_preemption_* this_cpu_* debug_smp* smp_processor_id alloc_*node",
    "wait": _SCHEDULE
    + """
        console_lock tty_ldisc_lock* tty_lock* wait_rcu_gp wait_*interruptible* rcu_*lock nfs_wait* bit_*
        do_read_cache_*""",
    "odebug": _ALLOC
    + """
        debug_* lookup_object* *timer* work_* init_work hrtimer_* percpu_counter_* rcuhead_* call_rcu*
        kfree_call_rcu free_* rcu_* vunmap destroy_*work*""",
    "refcount": "kref* klist_* rust_helper_* kobject_*",
    "kobject": "kobject_* kset_*",
    "proc": "proc_*",
    "kmalloc": _ALLOC + "*alloc_{pages,node}* page_alloc* get_order order_base* policy_* alloc_frozen*",
    "urb": "usb_{submit_urb,start_wait_urb,bulk_msg,interrupt_msg,control_msg*,internal_*}",
    "warn": _ALLOC + "usb_submit_urb sync_*_cgroup tasklet_*",
}

# Stalls and lockups: the loop is somewhere below. Named is its outermost part that still tells it from others.
# These are named themselves (with their underscores: `___sys_sendmsg` serves two system calls) ...
ANCHORS = """
smp_call_function* on_each_cpu*
__{x64,ia32,x32,arm64,riscv,s390,s390x,se,do,ia32_compat,arm64_compat}_{compat_,}sys_* __do_compat_sys_*
{compat_,}sys_* {compat_,}SyS_* SYSC_* C_SYSC_*
"""
# ... these only pass on to what a file, protocol, timer or work item asked for: whom they called is named.
PASSERS = """
vfs_{ioctl,read,write,readv,writev,fallocate,fsync,fsync_range} do_vfs_ioctl new_sync_{read,write}
full_proxy_{read,write,llseek,poll,unlocked_ioctl}
call_{read,write}_iter do_iter_{read,write,readv_writev}* do_loop_readv_writev
ksys_{ioctl,read,write,fallocate}
{x64,ia32,arm64,riscv,se,do}_{compat_,}sys_{ioctl,read,write,readv,writev,pwrite64,pread64,fallocate}
{compat_,}{SyS,SYSC,sys}_{ioctl,read,write} ia32_compat_sys_ioctl *_compat_ioctl sock_{sendmsg,recvmsg}*
sock_{write,read}_iter nfnetlink_rcv_msg netif_receive_skb*_core netif_receive_skb_{one,list}* process_backlog
napi_poll call_timer_fn expire_timers run_timers process_one_work process_scheduled_works tasklet_action*
task_work_run do_fault rcu_do_batch run_hrtimer hrtimer_run_queues kthread smpboot_thread_fn irq_work_run*
handle_irq_event_percpu security_* do_mount path_mount do_new_mount io_issue_sqe seq_read{,_iter}
rtnetlink_rcv_msg cpuhp_* do_one_initcall do_exit fput do_softirq blk_mq_*run*
"""
# ... and these are the machinery below or around every stall.
MACHINERY = """
rcu_* worker_thread kthread smpboot_thread_fn run_ksoftirqd tick_* update_process_times watchdog*
timer_handler do_softirq* ret_from_* run_timer_softirq *hrtimer* sysvec_* asm_* nmi_* process_one_work fput
net_rx_action call_timer_fn expire_timers run_timers tasklet_*action* process_scheduled_works handle_softirqs
irq_* generic_*irq* run_*thread sched_* do_vfs_ioctl ksys_* schedule* apic_timer_interrupt smp_apic*
check_cpu_stall arch_timer_* handle_*irq* wait_* write_comp_data run_timer_base do_IRQ
"""
