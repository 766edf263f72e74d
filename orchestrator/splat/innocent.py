# SPDX-License-Identifier: GPL-2.0-only
"""Functions never to blame, as tables: they report, enter the kernel, copy, allocate, wait or lock for their caller.

A word matches a whole name, without leading underscores and gcc's suffixes (.isra.0, .part.3); `*` stands for
anything, `{a,b}` for one of both, a word behind `!` is an exception to its table. COMMON holds for every form of
report, the other tables for those that name them. What is named by its prefix here is a library's (lib/,
kernel/locking, kernel/workqueue.c ...): where subsystems use a prefix too, the functions are spelled out.
"""

from __future__ import annotations

# The kernel's own tests of KASAN (mm/kasan/kasan_test_c.c), which are called like allocators.
_TESTS = """
!{kmalloc,krealloc,kmem_cache,ksize,vmalloc}_*{oob,uaf}* !kmem_cache_{double,invalid}_free !kmalloc_double_kzfree
"""

COMMON = (
    _TESTS
    + """
# of the page cache, KSM and KVM, though they are called like flags' accessors and entry code
!{folio_clear,clear_page}_dirty_for_io !folio_set_{stable_node,bh,anon} !folio_clear_hugetlb_hwpoison
!page_fault_{can,handle}_*
# reporting
dump_stack* dump_backtrace dump_{page,header,tasks,mm,vma,mapping,unreclaimable_slab}
show_{stack,regs,trace,registers}* print_*bug* print_{address,error}_description print_report print_track*
print_section print_trailer print_{slab,page}_info add_taint
print_{hex_dump,stack_trace,irqtrace,lock,held,shortest,bad,cpu_stall,other_cpu,tainted,modules,worker,oops,unreferenced,context,ip_sym,vma_addr,prefix,memory,shadow}*
panic* vpanic* nmi_panic warn warn_{slowpath,alloc,bogus,printk}* report_bug* fixup_bug handle_bug end_report
*_report_{bug,invalid_free,error} die die_kernel_fault arm_notify_die oops_* printk* vprintk* va_format *_printk*
drm_{dev_printk,dev_dbg,err,dbg}* sysfs_emit* seq_buf_* dynamic_{pr,dev,netdev,ibdev}_* start_report kasan* kcsan*
kmsan* kfence_* ubsan_* val_to_string handle_{overflow,null_ptr_deref,misaligned_access,object_size_mismatch}
check_memory_region{,_inline} check_region_inline
{asan,tsan,msan,hwasan}_* sanitizer_* memory_is_* bytes_is_* get_address_* stack_trace_* save_{stack,trace}*
set_track* arch_stack_walk* unwind_{get,next,backtrace}* walk_stackframe stack_depot_* depot_* sched_show_task
debug_show_* check_panic_on_* stack_chk_fail brk_handler bug_handler bug_brk_handler call_break_hook
call_el1_break_hook debug_exception_* do_debug_exception {trace,hardirqs}_{hardirqs,softirqs,irq,on,off}*
trace_*_thunk perf_trace_* traceiter_*
ftrace_{call,caller,stub,epilogue,regs_call,regs_caller,graph_call,graph_caller,return_to_handler,ops_list_func,ops_assist_func,ops_trampoline}
spin_{dump,bug} rwlock_bug debug_smp_* check_preemption_* lockdep_* csd_lock_* debug_object_* *_is_static_object
check_poison* check_{slab,page}_allocation should_fail* should_failslab fail_dump hex_dump_to_buffer print_hex_dump*
ref_tracker_* tracer_{hardirqs,preempt}_* cfi_{check,slowpath}* {handle,report}_cfi_failure* mte_check_tfsr*
# entry
{exit_to,enter_from}_kernel_mode* srso_* {its,retbleed,call_depth}_return_thunk* entry_untrain_ret clear_bhb_loop
exc_* asm_* do_error_trap do_trap* do_invalid_op invalid_op error_{entry,return,exit} paranoid_* idtentry_*
no_context bad_area* bad_page_fault bad_kernel_* spurious_{kernel_,}fault* vmalloc_fault kernelmode_fixup_or_oops
do_page_fault page_fault* async_page_fault general_protection do_general_protection do_kern_addr_fault
do_user_addr_fault do_kernel_fault do_mem_abort do_translation_fault do_bad_area do_sp_pc_abort do_sea do_serror*
do_alignment* do_tag_check_fault do_tag_recovery do_el{0,1}_* do_{Data,Prefetch}Abort
{dabt,pabt,und,irq,fiq}_{svc,usr} do_undef{instr,}* handle_exception
new_vmalloc_restore_context* divide_error do_divide_error do_int3 do_machine_check stack_segment do_stack_segment
double_fault do_double_fault el{0,1}*
entry_{SYSCALL,SYSENTER,INT80,trampoline}* do_syscall_* ret_from_* invoke_syscall ret_fast_syscall
syscall_{exit,return,enter,trace,call,entry}* program_check_* data_access_* instruction_access_* handle_page_fault
do_{break,trap_break} do_program_check do_hash_fault pgm_check_* do_pgm_check
do_{dat,protection,ade,be,ri,bp,watch}{_exception,} handle_{tlb*,adel,ades,ri,bp,sys,sys64,syscall}
tlb_do_page_fault* interrupt_return* retint_* common_interrupt stext text_start vector_* bad_mode bad_stack
handle_bad_stack panic_bad_stack early_*fixup* int3
# locks and annotations
{raw_,}{spin,read,write}_{try,}{un,}lock* do_raw_{spin,read,write}_* raw_spin_rq_* queued_{spin,read,write}_*
native_queued* pv_{queued,wait,kick,hash}* arch_{spin,read,write}_* bit_spin_* local_{un,}lock* ticket_spin_*
lock_{acquire,acquired,contended,release,downgrade,set,is_held,pin,unpin,repin,sync}* register_lock_class
look_up_lock_class hlock_class validate_chain* check_prev{,s}_add
check_{irq_usage,noncircular,deadlock,redundant,wait_context,lock_chain} mark_{lock,usage,held}* usage_match*
graph_lock add_lock_to_list lookup_chain_cache* add_chain_cache reacquire_held_locks assign_lock_key find_held_lock
match_held_lock debug_lock* debug_{mutex,spin,rt_mutex,rwsem}* debug_check_no_locks_* rcu_read_*lock* rcu_lock_*
rcu_is_watching might_* cant_{sleep,migrate} cond_resched* seqprop_* seqcount_* {raw_,do_,}{read,write}_seq*
owner_on_cpu rt_{spin,read,write,mutex,rwlock}_* rtlock_* rtmutex_* rwbase_* mutex_* osq_* rwsem_* down
down_{read,write,killable,interruptible,timeout,trylock}* downgrade_write up up_{read,write}* percpu_{down,up}_*
ldsem_* ww_mutex_* class_{raw_spin,spin,mutex,rwsem,read,write}*
# waiting and waking
wake_up{,_all,_bit,_var,_process,_state,_q,_nr,_new_task,_klogd,_if_idle}
wake_up_{all,common,interruptible,sync,locked,poll,idle,nohz}* wake_q_* {finish,prepare_to}_{s,}wait*
wait_for_completion* wait_for_common* try_wait_for_completion complete complete_{all,with_flags,on_current_cpu}
swake_up_* kthread_{stop,park,unpark}* kthread_{queue,mod,flush,cancel,insert}_*work* insert_work
queue_{delayed_,rcu_,}work* mod_delayed_work* try_to_grab_pending work_grab_pending
{cancel,flush,disable,enable}_{delayed_,rcu_,}work* drain_workqueue destroy_workqueue del_timer*
timer_{delete,shutdown}* try_to_del_timer* lock_timer_base
# copying, strings, lists, counts, bits, trees
mem{cpy,set,move,cmp,chr,scan,dup,zero}* memchr_inv bcmp mmio{cpy,set} pi_{mem,str,clear_page,copy_page}*
clear_page* copy_page clear_{user_,}highpage* copy_{user_,}highpage* rep_{movs,stos}* kmap_{local,atomic}* kunmap*
str{,n}{len,cpy,cmp,cat,chr,str,casecmp,dup,spn,cspn,nstr}* str{lcpy,lcat,scpy,rchr,sep,pbrk,cspn,im,replace}*
stpcpy skip_spaces sized_strscpy sysfs_streq kstrdup* kstrndup* {k,v,kv,}memdup* match_*string hex_to_bin hex2bin
bin2hex
{raw_,arch_,arm_,asm_,inline_,}copy_{to,from,in}_user{,_nofault,_nmi,_inatomic*,_toio,_fromio,_mcsafe,_iter*,_flushcache}
copy_user_{generic,enhanced,fast,nocache,handle,64,bytes}* {raw_,}copy_user copy_tofrom_user*
probe_{kernel,user}_{read,write}* copy_{to,from}_{iter*,kernel_nofault} copy_mc_*
copyin* copyout* csum_and_copy_* {get,put}_user{,_asm*,_nocheck*,_nofault*,_size*,_1,_2,_4,_8,_bad} clear_user*
copy_page_{to,from}_iter* simple_copy_to_iter instrument_* copy_overflow check_heap_object check_object_size
list_{add,del}{,_tail*,_rcu,_init*,_entry*,_valid*,_clearprev} list_{move,replace,splice,cut,sort,rotate,swap}*
hlist_* llist_* plist_* klist_* refcount_* kref_* kobject_{get,put,del,cleanup,release} kobject_get_unless_zero
lockref_*
{lse_,ll_sc_,}atomic{,64,_long}_{add,and,andnot,cmpxchg,dec,fetch,inc,or,read,set,sub,try,xchg,xor}*
{arch,raw}_atomic* {arch_,}{cmp,}xchg{,64*,_relaxed,_acquire,_release,_local,_double*,_mb*} read_once* write_once*
{arch_,}{test_and_,}{set,clear,change}_bit{,_lock,_unlock*,_le} arch_static_* test_bit
{arch_,variable_,constant_}test_bit find_{first,next,last,nth}{,_and,_andnot,_or,_zero,_and_andnot}_bit*
atomic_dec_and_* sn{,c}printf scnprintf vsn{,c}printf vscnprintf {,v}sprintf {,v}sscanf {b,bstr_,vbin_}printf
kasprintf* kvasprintf* seq_{printf,vprintf,puts,putc,write,put_decimal*,escape*,hex_dump} format_decode string
string_{nocheck,escape*,unescape} pointer pointer_string symbol_string resource_string
{mac_address,uuid,fourcc,flags,fwnode,error,escaped}_string ip{4,6,}_{addr_,}{compressed_,}string*
{dentry,bdev,file_dentry}_name netdev_bits number special_hex_number put_dec* widen_string device_node_string
hex_*string kstrto* simple_str{n,}to* parse_integer* fortify_*
xa_{load,store,erase,find,alloc,insert,cmpxchg,get,set,clear,destroy,extract,reserve,release}*
rb_{insert_color,insert_augmented,erase,next,prev,first,last,link_node,replace_node}* timerqueue_{add,del,iterate}*
csum_partial* ip_fast_csum do_csum ip_compute_csum crc{4,7,8,16,32,64}* percpu_counter_* crc_{ccitt,itu_t,t10dif}*
{siphash,hsiphash,jhash}* xxh{32,64}* ida_* idr_{remove,alloc,find,get,replace,destroy}* bsearch sort sort_r
Ldiv0{,_64} div0 do_div64 div64_{32,u64,s64}* div_{s64,u64}* {u,}{div,mod}{s,d}i3 aeabi_* iter_div_* mul_u64_*
match_{token,number,int,strlcpy,strdup}* rhashtable_{lookup,insert,remove,replace,init}* rhashtable_jhash*
rht_{key,bucket,ptr,lock,unlock,assign}* rhltable_* virt_to_* virt_addr_valid phys_addr* indirect_thunk* x86_*thunk*
retpoline* fdget fdget_{raw,pos}_fast cpu_relax rep_nop native_* local_*irq* arch_local_* preempt_count_*
bitmap_{and,or,xor,andnot,equal,empty,full,weight,set,clear,find*,parse*,print*,copy*,zero,fill,shift*,intersects*}
bitmap_{to,from}_arr* bitmap_{replace,subset,cut,remap,onto,fold,alloc,zalloc,free}
# allocators
{k,v,kv}{m,z,c,}alloc* alloc_{frozen_,}pages* alloc_page_{vma,interleave,noprof}* kmalloc_* {k,kv,v}realloc* ksize
{k,v,kv}free {k,v,kv}free_{const,sensitive,rcu,link,bulk,mightsleep,call_rcu*} kzfree
kmem_cache_{alloc,free,zalloc}* do_kmalloc*
slab_{alloc,free,post,pre,want,pad,err,fix,bug,lock,unlock,update,destroy}* free_large_kmalloc kfree_call_rcu*
# the driver core, files, inodes, pages
device_{add,for_each_child,del,register,unregister,release_driver*,remove_*file*,remove_group*,create_file}
device_{create,destroy} device_create_* get_device_parent device_release {get,put}_device sysfs_{remove,create}_*
dpm_sysfs_* dev_{alert,crit,dbg,emerg,err,info,notice,printk,warn}*
netdev_{alert,crit,dbg,emerg,err,info,notice,printk,warn}* dev_vprintk_emit dev_printk_emit dev_set_name
dev_driver_string rollback_registered* unregister_netdevice_{many,queue}* usb_{kill,submit,poison,unlink}_urb
{i2c,spi}_{del,unregister}_* unregister_client platform_device_{del,unregister} read_word_at_a_time page_address
{drop,inc,clear,set}_nlink fast_dput dput retain_dentry mark_buffer_* brelse bforget {un,}lock_{page,buffer}
folio_{un,}lock folio_{clear,set,test}_* put_page
"""
)

# A name that holds one of these (regular expressions) is a wrapper of it, unless a work queue, a timer or another of
# PASSERS called it.
WRAPPERS = r"""
(?:spin|mutex|read|write)_(?:un)?lock(?!ed|dep|_wait) copy_to_user copy_from_user memdup_user
kmalloc(?!\w*_(?:oob|uaf|double_)) kzalloc
kcalloc kmem_cache_alloc kmem_cache_free kstrdup kmemdup lockdep (?:^|_)(?:down|up)_(?:read|write) kasan kmsan
kcsan kfence dump_stack refcount_(?:add|dec|inc|sub|set|read|warn) ref_tracker debug_object cancel_work
cancel_delayed_work flush_work flush_delayed_work stack_trace sysfs_remove del_timer list_add_valid
list_del_entry_valid (?<!do_)usercopy virt_to_phys flush_workqueue drain_workqueue destroy_workqueue
"""

_SCHEDULE = """
schedule schedule_{timeout,hrtimeout,preempt_disabled,idle,rtlock,user,debug,loop}* context_switch io_schedule*
switch_to bit_wait* out_of_line_wait* wait_on_bit* wait_event* do_wait_*common do_wait_for_* call_rwsem_*
futex_wait_queue* futex_do_wait autoremove_* {usleep,msleep,ssleep,fsleep}* preempt_{schedule,count,latency}*
percpu_rwsem* queue_event start_flush_work touch_work_* lock_on_* wait_on_* wait_*bit* down_common
lock_{page,buffer,folio,metapage}* lock_sock folio_{wait,lock}* kthread_{create,bind}* usb_start_wait_urb rwlock_*
dev_hold do_nanosleep hrtimer_nanosleep
"""
_ALLOC = (
    _TESTS
    + """
kmem_cache_* new_slab* allocate_slab alloc_slab_page cache_{grow,alloc,free,flush}* fallback_alloc do_slab_free
do_kmem_cache_* alloc_{page,pages}* get_page_from_freelist get_free_pages free_{page,pages}* rmqueue*
prep_new_page post_alloc_hook check_new_page* qlist_* qlink_{free,to_cache}* quarantine_* kmemleak_* create_object
free_large_kmalloc large_free_hook poison_{page,element,slab}* alloc_percpu* pcpu_alloc* dma_alloc* devm_k*
object_err print_trailer slab_err check_slab free_debug_* *_check_bytes* mempool_* folio_alloc* vmalloc* vzalloc*
kvmalloc_* kmalloc_* warn_alloc*
"""
)

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
        folio_put* pages_put* put_pages_list folio_batch_* lru_add_fn folio_add_lru*
        release_pages destroy_large_folio tlb_* bulk_* prep_compound_* put_*page*
        unaccount_page_cache* filemap_unaccount* filemap_{alloc,get,add}_folio* pagecache_get_page""",
    "allocator": _ALLOC + "*alloc* *strdup* *strndup* *memdup* kmem* mempool* bpf_map_area* idr_get*",
    "list": "list_*",
    "usercopy": "usercopy_* check_{heap,object,copy,stack,kernel,page,bogus}_*",
    "bug": "skb_{over,under}_panic skb_panic skb_{push,put,pull}*",
    "rust": """
        *rust_begin_unwind* *panicking* *panic_* *unwrap_failed* *expect_failed* *slice*_fail* *mismatch_fail*
        rust_helper_*""",
    "lock": _SCHEDULE
    + """
        static_obj is_dynamic_key lock_{sock,page,buffer,map}* rwsem* percpu_rwsem* seq_lockdep*
        sync_*timer* sk_{destruct,free}
        sock_put perf_trace_init cpus_read_lock*""",
    "rcu": """
        rcu_* kmem_* slab_* kmalloc* dump_* list_*_rcu
        {xa,xas,mas,mtree,idr,radix_tree,rhashtable,assoc_array}_* mt_{find,next,prev}*""",
    "sleep": _SCHEDULE
    + _ALLOC
    + """
        schedule_bug dequeue_task* start_flush* slab_pre_alloc* prepare_exit* synchronize_* console_lock
        rcu_barrier do_softirq* irq_exit* *apic_timer* sysvec_*""",
    "preempt": "check_preemption_* this_cpu_* debug_smp* smp_processor_id alloc_*node",
    "wait": _SCHEDULE
    + """
        *_lock* *wait* *sched* *down* *rwsem* *completion* *kthread* *synchronize* *rcu_barrier* bit_*
        do_read_cache_*""",
    "odebug": _ALLOC
    + """
        debug_* lookup_object* *timer* work_* init_work hrtimer_* percpu_counter_* rcuhead_* call_rcu*
        kfree_call_rcu free_{page,unref,pcp,large,slab,percpu}* rcu_* vunmap destroy_*work*""",
    "refcount": "kref* klist_* rust_helper_* kobject_*",
    "kobject": "kobject_* kset_*",
    "proc": "proc_*",
    "kmalloc": _ALLOC + "*alloc_{pages,node}* page_alloc* get_order order_base* policy_* alloc_frozen*",
    "urb": "usb_{submit_urb,start_wait_urb,bulk_msg,interrupt_msg,control_msg*,internal_*}",
    "warn": _ALLOC + "usb_submit_urb sync_*_cgroup tasklet_*",
}

# Whoever waits for one of these hangs for the same reason, so that it is named, wherever it is on the stack.
QUEUES = """
rtnl_lock* synchronize_{rcu,srcu,sched,net}*
"""

# Stalls and lockups: the loop is somewhere below. Named is its outermost part that still tells it from others.
# These are named themselves (with their underscores: `___sys_sendmsg` serves two system calls) ...
ANCHORS = """
smp_call_function* on_each_cpu*
__{x64,ia32,x32,arm64,riscv,s390,s390x,se,do,ia32_compat,arm64_compat}_{compat_,}sys_* __do_compat_sys_*
{compat_,}sys_* {compat_,}SyS_* SYSC_* C_SYSC_*
"""
# ... these only pass on to what a file, protocol, timer or work item asked for: whom they called is named.
PASSERS = """
vfs_{ioctl,read,write,readv,writev,fallocate,fsync,fsync_range} vfs_iter_{read,write,bvec_read}* do_vfs_ioctl
new_sync_{read,write} full_proxy_{read,write,llseek,poll,unlocked_ioctl}
call_{read,write}_iter do_iter_{read,write,readv_writev}* do_loop_readv_writev do_{read,write}v
{ksys,kernel}_{ioctl,read,write,fallocate}
{x64,ia32,arm64,riscv,s390,s390x,se,do}_{compat_,}sys_{ioctl,read,write,readv,writev,pwrite64,pread64,fallocate}
{x64,ia32,arm64,riscv,s390,s390x,se,do,}{_,}{compat_,}{SyS,SYSC,sys}_{connect,socketpair}
{compat_,}{SyS,SYSC,sys}_{ioctl,read,write} ia32_compat_sys_ioctl *_compat_ioctl sock_{sendmsg,recvmsg}*
sock_{write,read}_iter {nfnetlink,rtnetlink}_rcv_msg netif_receive_skb*_core
netif_receive_skb_{one,list}* call_timer_fn expire_timers run_timers run_timer_base
process_one_work process_scheduled_works tasklet_action* tasklet_hi_action
task_work_run do_fault rcu_do_batch run_hrtimer hrtimer_run_queues kthread smpboot_thread_fn irq_work_run*
handle_irq_event_percpu do_dentry_open io_issue_sqe io_wq_worker seq_read{,_iter}
cpuhp_* do_one_initcall fput do_softirq handle_softirqs blk_mq_*run*
cpu_startup_entry start_secondary secondary_start_kernel direct_entry lkdtm_{do_action,debugfs_entry,kprobe_handler}
"""
# ... and these are the machinery below or around every stall.
MACHINERY = """
rcu_* worker_thread kthread smpboot_thread_fn run_ksoftirqd tick_* update_process_times watchdog*
timer_handler do_softirq* ret_from_* run_timer_softirq *hrtimer* sysvec_* asm_* nmi_* process_one_work fput
call_timer_fn expire_timers run_timers tasklet_*action* process_scheduled_works handle_softirqs
irq_* generic_*irq* run_*thread sched_* do_vfs_ioctl ksys_* schedule* apic_timer_interrupt smp_apic*
check_cpu_stall arch_timer_* *timer_interrupt handle_*irq* wait_* write_comp_data run_timer_base {call_,}do_{irq,IRQ}
{check,print}_stack_overflow stack_overflow_check {hardware_interrupt,HardwareInterrupt}_* plat_irq_dispatch
{rollback_,}handle_int except_vec_*
"""
